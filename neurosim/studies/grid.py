"""Grids: every combination of some settings of a model, each run with the same seeds."""

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from neurosim.errors import InputError
from neurosim.spec import STUDIES, as_settings, converted, load, shipped, studies
from neurosim.studies import measures
from neurosim.studies.conditions import Condition


class Axis(NamedTuple):
    """What differs between conditions in one respect."""

    label: str  # such as "delay", with its unit
    settings: Mapping[str, Mapping[str, Any]]  # by the name of a value, what is set for it

    @property
    def numbers(self) -> list[float] | None:
        """The values as numbers, None where they are not."""
        try:
            return [float(name) for name in self.settings]
        except ValueError:
            return None


class Grid(NamedTuple):
    """Conditions to compare; the first one is the reference."""

    title: str
    model: str  # name or path
    overrides: Mapping[str, Any]  # set in all conditions
    axes: tuple[Axis, ...]
    seeds: Sequence[int]
    measures: tuple[str, ...] = ()  # beside the score, see `measures.MEASURES`
    mark: str | None = None  # of them, drawn where it lies along the last axis

    def conditions(self) -> list[Condition]:
        """All combinations, the last axis running fastest.

        Raises
        ------
        InputError : one of them is no valid model, two of them are the same one, or one has not
            what is to be measured.
        """
        conditions = [
            Condition(
                self.label(names),
                self.title,
                self.model,
                dict(self._overrides(names)),
                self.seeds,
            )
            for names in self.points()
        ]
        self._check_mode()
        by_name: dict[str, str] = {}
        for each in conditions:
            measures.check(self.measures, each.model)
            other = by_name.setdefault(each.model.name, each.label)
            if other != each.label:
                raise InputError(
                    f"{self.title}: the conditions {other!r} and {each.label!r} set the same "
                    "values; leave one of them out."
                )
        return conditions

    def label(self, names: tuple[str, ...]) -> str:
        """What a condition is called."""
        pairs = zip(self.axes, names, strict=True)
        return ", ".join(f"{axis.label} = {name}" for axis, name in pairs)

    def points(self) -> list[tuple[str, ...]]:
        """Names of the values of each condition, axis by axis, in the order of `conditions`."""
        return list(itertools.product(*(axis.settings for axis in self.axes)))

    def _check_mode(self) -> None:
        """Raise InputError where timing differs between conditions of a synchronous model."""
        base = load(self.model, self.overrides)
        settings = [each for axis in self.axes for each in axis.settings.values()]
        keys = [key for setting in settings for key in setting if key.partition(".")[0] == "timing"]
        if keys and base.mode != "asynchronous":
            raise InputError(
                f"{self.model}: {keys[0]}: belongs to the asynchronous mode, and the model has no "
                f"section [timing]. Take another model, such as async/{self.model}, or --set "
                "timing.clock=poisson."
            )

    def _overrides(self, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        yield from self.overrides.items()
        for axis, name in zip(self.axes, names, strict=True):
            yield from axis.settings[name].items()


def parse_axis(text: str) -> Axis:
    """An axis from text such as "timing.delay=0,0.5,1".  Raises InputError."""
    key, equals, values = text.partition("=")
    if not key or not equals or not values:
        raise InputError(f"--over {text}: write KEY=VALUE,VALUE,..., such as timing.delay=0,0.5,1.")
    try:
        parsed = tomllib.loads(f"values = [{values}]")["values"]
    except tomllib.TOMLDecodeError:
        parsed = values.split(",")  # bare words are strings
    return _axis_of(key, key, parsed)


def find(name: str) -> Grid | None:
    """The grid of a study, by its name or path; None where that names a model.

    Raises
    ------
    InputError : as `path_of` and `read_grid`.
    """
    path = path_of(name)
    return None if path is None else read_grid(path)


def path_of(name: str) -> Path | None:
    """The file of a study, by its name or path; None where that names a model, or nothing.

    Raises
    ------
    InputError : there is no such study.
    """
    if name.startswith(STUDIES) and not name.endswith(".toml"):
        if name not in studies():
            raise InputError(f"There is no study {name!r}; there are {', '.join(studies())}.")
        return shipped() / f"{name}.toml"
    path = Path(name)
    if path.suffix != ".toml" or not path.is_file():
        return None
    try:
        return path if "axis" in tomllib.loads(path.read_text("utf-8")) else None
    except ValueError:  # what is wrong with it is said of a model
        return None


def read_grid(path: Path) -> Grid:
    """The grid that a study file holds.

    Raises
    ------
    InputError : the file cannot be read, or something in it is not valid.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from None
    except ValueError as error:
        raise InputError(f"{path}: not TOML in UTF-8: {error}.") from None
    file = converted(content, _StudyFile, str(path))
    if not file.axis:
        raise InputError(f"{path}: axis = []: give one at least, of what is to differ.")
    if not 0 <= file.seeds[0] < file.seeds[1]:
        raise InputError(
            f"{path}: seeds = {list(file.seeds)}: write [first, last + 1], such as [0, 10] for the "
            "seeds 0 to 9."
        )
    axes = []
    for axis in file.axis:
        if isinstance(axis.values, dict):
            axes.append(Axis(axis.label, axis.values))
        elif axis.key is None:
            raise InputError(f"{path}: axis {axis.label!r}: values in a list need a key.")
        else:
            axes.append(_axis_of(axis.label, axis.key, axis.values))
    if file.mark is not None and file.mark not in file.measures:
        raise InputError(f"{path}: mark = {file.mark!r}: add it to measures.")
    grid = Grid(file.title, file.model, file.set, tuple(axes), range(*file.seeds))
    return grid._replace(measures=tuple(file.measures), mark=file.mark)


class _AxisOfFile(msgspec.Struct, forbid_unknown_fields=True):
    label: str
    values: list[Any] | dict[str, dict[str, Any]]  # of the key, or what is set, by name
    key: str | None = None


class _StudyFile(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    model: str
    seeds: tuple[int, int]  # the first one, the last one + 1
    axis: list[_AxisOfFile]
    set: dict[str, Any] = {}
    measures: list[str] = []
    mark: str | None = None


def _axis_of(label: str, key: str, values: Sequence[Any]) -> Axis:
    names = [setting.partition("=")[2] for v in values for setting in as_settings({key: v})]
    if len(set(names)) < len(names) or not names:
        raise InputError(f"{label}: {', '.join(names)}: give one value at least, none twice.")
    return Axis(label, {name: {key: v} for name, v in zip(names, values, strict=True)})
