"""Reading runs: sealed, running or killed, through one interface, and only what is asked for."""

import importlib
import os
from collections.abc import ItemsView, Iterator, KeysView, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import h5py
import numpy as np

from neurosim.errors import InputError
from neurosim.memory import Floats, Integers
from neurosim.record import schema
from neurosim.record.contents import Column, Contents, Group
from neurosim.record.files import Array, Source
from neurosim.record.sealing import fingerprint
from neurosim.record.stores import closed_segments, numbered_segments
from neurosim.spec import MonteCarloSpec, Spec, parse

if TYPE_CHECKING:
    import pandas
    import xarray


def open_run(path: str | os.PathLike[str]) -> "Run":
    """Open a run for reading.

    Parameters
    ----------
    path : path
        A run folder, or its ``run.h5``. A folder is read from its closed segments while it has no
        ``run.h5``, or one that was sealed from other segments (the run was resumed since).

    Returns
    -------
    Run
        To be used in a ``with`` statement, or closed.

    Raises
    ------
    InputError
        There is no run at `path`, or a file of it is damaged, foreign, or of a newer version.
    """
    path = Path(path)
    return Run(path, Contents(lambda: _files_of(path)))


def _files_of(path: Path) -> list[Source]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"There is no run at {path}. Give a run folder or its run.h5.")
    sealed, segments = path / schema.SEALED_FILE, closed_segments(path)
    if sealed.is_file():
        with Contents(lambda: [sealed]) as contents:
            attrs = contents.attributes("")
        if not segments:
            if numbered_segments(path) and not attrs.get("complete", False):
                raise InputError(
                    f"Segment 0 is missing from {path / schema.SEGMENTS_FOLDER}. "
                    "Restore it from a copy, or record the run again."
                )
            return [sealed]
        made_from = attrs.get("segments", ())
        if tuple(made_from) == fingerprint(segments):
            return [sealed]
    if not segments:
        raise InputError(
            f"{path} holds no run.h5 and no closed segment. Give a run folder, "
            "or wait until the run has recorded something."
        )
    return [*segments]


class Table:
    """Columns of one length by name; ``len()`` is the number of rows, iteration is over names.

    Columns of a run that is not sealed may be cut apart by the end of its last segment; the table
    ends with the last row that all of them have.
    """

    def __init__(self, name: str, columns: dict[str, Column]) -> None:
        self._name = name
        self._rows = min((len(column) for column in columns.values()), default=0)
        self._columns = {key: column.rows(0, self._rows) for key, column in columns.items()}

    def __repr__(self) -> str:
        return f"<Table {self._name}: {self._rows} rows of {', '.join(self._columns)}>"

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def keys(self) -> KeysView[str]:
        """Return the names of the columns."""
        return self._columns.keys()

    def items(self) -> ItemsView[str, Column]:
        """Return the columns by name."""
        return self._columns.items()

    def rows(self, start: int, stop: int) -> "Table":
        """Return the table of the rows start ... stop - 1; nothing is read yet."""
        start, stop, _ = slice(start, stop).indices(self._rows)
        columns = {name: column.rows(start, stop) for name, column in self.items()}
        return Table(self._name, columns)

    def to_pandas(self, columns: Sequence[str] | None = None) -> "pandas.DataFrame":
        """Read into a pandas DataFrame.

        Parameters
        ----------
        columns : names, or None for all of them.

        Returns
        -------
        One row a row; a column with components, such as ``observation``, becomes
        ``observation_0``, ``observation_1`` and so on; codes with names become categories.

        Raises
        ------
        InputError
            A column that the table does not have, or pandas is not installed.
        """
        package = _package("pandas")
        found: dict[str, Any] = {}
        for name, column in self._chosen(columns):
            values = column[...]
            codes = h5py.check_enum_dtype(column.dtype)
            if codes and values.dtype != bool:
                names = sorted(codes, key=codes.__getitem__)  # HDF5 has them by name
                found[name] = package.Categorical.from_codes(values, names)
            elif values.ndim == 1:
                found[name] = values
            else:
                flat = values.reshape(len(values), -1)
                for at, index in enumerate(np.ndindex(values.shape[1:])):
                    found["_".join([name, *map(str, index)])] = flat[:, at]
        return package.DataFrame(found)

    def to_xarray(self, columns: Sequence[str] | None = None) -> "xarray.Dataset":
        """Read into an xarray Dataset, with the names of dimensions that the file has.

        Parameters
        ----------
        columns : names, or None for all of them.

        Raises
        ------
        InputError
            A column that the table does not have, or xarray is not installed.
        """
        package = _package("xarray")
        found: xarray.Dataset = package.Dataset(
            {
                name: (column.dimensions, column[...], column.attrs)
                for name, column in self._chosen(columns)
            }
        )
        return found

    def _chosen(self, columns: Sequence[str] | None) -> list[tuple[str, Column]]:
        names = list(self) if columns is None else columns
        for name in names:
            if name not in self:
                raise InputError(
                    f"columns: {self._name} has no column {name!r}; it has {', '.join(self)}."
                )
        return [(name, self[name]) for name in names]


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"This needs {name}: pip install 'neurosim[tables]'.") from None


class Window:
    """The steps of an episode that were recorded in full detail.

    Attributes
    ----------
    number : int
        From 0, in the order of recording.
    episode : int
        From 1.
    first_step, n_steps : int
        Its rows of /steps.
    complete : bool
        False if the run diverged in it: `after` is nan then, and the last step, whose outcome
        never came, has no row in /steps.
    """

    def __init__(self, run: "Run", number: int) -> None:
        table = run.table(schema.WINDOWS)
        self._run = run
        self.number = number
        self.episode = int(table["episode"][number])
        self.first_step = int(table["first_step"][number])
        self.n_steps = int(table["n_steps"][number])
        self.complete = bool(table["complete"][number])
        self._row = int(table["first_row"][number])
        self._n_events = int(table["n_events"][number]) if "n_events" in table else 0

    def __repr__(self) -> str:
        return f"<Window {self.number}: episode {self.episode}, {self.n_steps} steps>"

    @property
    def steps(self) -> Table:
        """Its rows of /steps."""
        return self._run.steps.rows(self.first_step, self.first_step + self.n_steps)

    @property
    def events(self) -> Table:
        """Its rows of /windows/events; without columns where units have no clocks."""
        first, end = self._event_bounds()[[0, -1]]
        return self._run.table(schema.EVENTS).rows(int(first), int(end))

    @property
    def first_event(self) -> Integers:
        """Rows of `events` at which each step begins, and at last their end: (n_steps + 1,)."""
        bounds = self._event_bounds()
        relative: Integers = bounds - bounds[0]
        return relative

    def sampled(self, team: str) -> Floats:
        """Return the values of a team's units as sampled: (n_steps, units)."""
        return self._values(f"{team}_sampled")

    def relaxed(self, team: str) -> Floats:
        """Return the values of a team's units after relaxation: (n_steps, units)."""
        return self._values(f"{team}_relaxed")

    def before(self, team: str) -> dict[str, Array]:
        """Return a team's state in which the first step begins: W1, b1, zW1, mW1 and so on."""
        return self._state(team, "before")

    def after(self, team: str) -> dict[str, Array]:
        """Return a team's state just after the last step's trace."""
        return self._state(team, "after")

    def _values(self, name: str) -> Floats:
        column = self._run.table(schema.WINDOW_STEPS)[name]
        values: Floats = column[self._row : self._row + self.n_steps]
        return values

    def _state(self, team: str, when: str) -> dict[str, Array]:
        group = Group(self._run.contents, schema.state(team, when))
        return {name: column[self.number] for name, column in group.items()}

    def _event_bounds(self) -> Integers:
        if not self._n_events:
            return np.zeros(self.n_steps + 1, np.int64)
        begins = self._run.table(schema.WINDOW_STEPS)["first_event"]
        bounds = begins[self._row : self._row + self.n_steps]
        return np.append(bounds, bounds[0] + self._n_events)


class Windows(Sequence[Window]):
    """The windows of a run, in the order of recording."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._count = len(run.table(schema.WINDOWS))

    def __repr__(self) -> str:
        return f"<Windows: {self._count}>"

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Window: ...
    @overload
    def __getitem__(self, index: slice) -> list[Window]: ...
    def __getitem__(self, index: int | slice) -> Window | list[Window]:
        if isinstance(index, slice):
            return [Window(self._run, number) for number in range(self._count)[index]]
        return Window(self._run, range(self._count)[index])


class Run:
    """A run, opened for reading by :func:`open_run`; ``run["teams/actor/units"]`` is any part.

    Attributes
    ----------
    path : Path
        What was opened.
    contents : Contents
        What its files hold.
    attrs : dict
        The root attributes.
    """

    def __init__(self, path: Path, contents: Contents) -> None:
        self.path = path
        self.contents = contents
        self.attrs = contents.attributes("")

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "complete" if self.complete else "incomplete"
        if batches := len(self.batches):
            samples = self.batches["samples"][batches - 1]
            return f"<Run {self.path}: {state}, {batches} batches, {samples} samples>"
        counts = f"{len(self.episodes)} episodes, {len(self.steps)} steps"
        return f"<Run {self.path}: {state}, {counts}, {len(self.windows)} windows>"

    def close(self) -> None:
        """Release the open files; a later read opens them again."""
        self.contents.close()

    def __getitem__(self, path: str) -> Any:
        return self.contents.node(path.strip("/"))

    @property
    def model(self) -> str:
        """The resolved model file, TOML text."""
        return str(self.attribute("model"))

    @property
    def spec(self) -> Spec:
        """The settings of a run of episodes.

        Raises
        ------
        InputError
            It is a run of batches (Algorithm 1).
        """
        spec = parse(self.model, str(self.path)).spec
        if isinstance(spec, MonteCarloSpec):
            raise InputError(
                f"{self.path} is a run of batches, and this is for runs of episodes; "
                "`neurosim plot learning-curve` draws it."
            )
        return spec

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.attribute("seed"))

    @property
    def complete(self) -> bool:
        """Whether the run reached its end; never before it is sealed."""
        return bool(self.attrs.get("complete", False))

    @property
    def episodes(self) -> Table:
        """One row per episode; row k is episode k + 1."""
        return self.table(schema.EPISODES)

    @property
    def steps(self) -> Table:
        """One row per step of the environment."""
        return self.table(schema.STEPS)

    @property
    def batches(self) -> Table:
        """One row per batch of a run of Algorithm 1; row k is batch k + 1."""
        return self.table(schema.BATCHES)

    @property
    def windows(self) -> Windows:
        """The windows recorded in full detail.

        Raises
        ------
        InputError
            The run has the format of neurosim 0.1, which kept windows in another way.
        """
        if int(self.attrs.get("format_version", schema.FORMAT_VERSION)) < 2:
            raise InputError(
                f"{self.path} was recorded by neurosim 0.1, whose windows this version does not "
                "read: use that version for them, or record the run again."
            )
        return Windows(self)

    def table(self, name: str) -> Table:
        """Return a table such as ``windows/events``; without columns if it is not there."""
        nodes = Group(self.contents, name).items()
        return Table(name, {key: node for key, node in nodes if isinstance(node, Column)})

    def weights(self, team: str, which: str) -> dict[str, Array]:
        """Return the weights of a team, ``W1``, ``b1``, ``W2`` and so on, as arrays.

        Parameters
        ----------
        team : str
            ``actor`` or ``critic``.
        which : str
            ``initial`` or ``final``.

        Raises
        ------
        InputError
            The run holds no such weights.
        """
        group = Group(self.contents, schema.weights(team, which))
        if not group:
            raise InputError(
                f"{self.path} holds no weights {which!r} of a team {team!r}. "
                f"It holds: {', '.join(self._weights_held()) or 'none'}."
            )
        return {name: np.asarray(column) for name, column in group.items()}

    def _weights_held(self) -> list[str]:
        teams = Group(self.contents, schema.TEAMS)
        return [
            f"{team} {which}"
            for team in teams
            for which in Group(self.contents, f"{schema.TEAMS}/{team}/weights")
        ]

    def attribute(self, name: str) -> Any:
        """Return a root attribute that every run has.  Raises InputError."""
        if name not in self.attrs:
            raise InputError(
                f"{self.path} has no attribute {name!r}: it was not recorded by `neurosim run`. "
                "Record the run again."
            )
        return self.attrs[name]
