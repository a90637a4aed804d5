"""Model files: TOML text to validated, frozen structs.

A model file is complete and flat; every key stands in it under the paper's symbol.  Whatever is
wrong in one is reported at once, with the path of the key, the value and the remedy.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import msgspec
import tomlkit
from msgspec import Meta, Struct

from neurosim.errors import InputError

Count = Annotated[int, Meta(ge=1, le=10**12)]
Index = Annotated[int, Meta(ge=0, le=10**12)]
Finite = Annotated[float, Meta(ge=-1e300, le=1e300)]
Positive = Annotated[float, Meta(gt=0, le=1e300)]
NotNegative = Annotated[float, Meta(ge=0, le=1e300)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Limit = Annotated[float, Meta(gt=0)]  # inf: no limit
Activation = Literal["softplus", "relu", "tanh", "sigmoid", "linear"]


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Task(_Section, frozen=True):
    """What is learned: a Gymnasium environment and for how long."""

    id: str  # a registered Gymnasium environment
    episodes: Count
    options: dict[str, Any] = {}  # keyword arguments of gymnasium.make
    one_hot: bool = False  # Discrete observations as one-hot vectors
    action_map: tuple[Finite, Finite] | None = None  # Box actions: clip(scale * A + offset)


class Learning(_Section, frozen=True):
    """What actor and critic share."""

    gamma: Fraction  # discount rate
    reward_bound: Limit  # rewards are held within +- this for learning
    anneal_steps: Limit  # iterations after which alpha has reached anneal_to * alpha
    truncation: Literal["bootstrap", "zero"]  # td_error at a step limit: from mu(S'), or 0
    update_at_reset: bool  # an update with td_error 0 at the first step of an episode
    terminal_iteration: bool  # one more iteration on the last state of an episode
    stale_first_mean: bool  # first relaxation step with the means of before the weight update


class Adam(_Section, frozen=True):
    """Adam (Kingma and Ba 2015), for both teams."""

    beta1: Annotated[float, Meta(ge=0, lt=1)]
    beta2: Annotated[float, Meta(ge=0, lt=1)]
    epsilon: Positive
    bias_correction_until: Annotated[float, Meta(ge=1)]  # first update without; inf: always with


class TeamSpec(_Section, frozen=True):
    """What both teams have.  Lists go layer by layer, from the first hidden one up."""

    units: list[Count]  # hidden layers
    activation: list[Activation]  # hidden layers
    var: list[Positive]  # hidden layers, then the output if it is Gaussian
    alpha: list[NotNegative]  # every layer
    anneal_to: list[Fraction]  # every layer
    lambda_: Fraction = msgspec.field(name="lambda")
    N: Index  # relaxation steps
    step_size: Positive  # c: alpha_h = c * var


class Actor(TeamSpec, frozen=True):
    """The team that acts."""

    output: Literal["softmax", "gaussian"]
    T: Positive | None = None  # temperature of a softmax output
    gate_floor = 0.0


class Critic(TeamSpec, frozen=True):
    """The team that estimates the value (Appendix C); one linear Gaussian output."""

    gate_floor: NotNegative  # smallest |A - mu| in the gate, in standard deviations
    output = "gaussian"
    T = None


class Record(_Section, frozen=True):
    """A window: the steps of the episodes that are recorded in full detail."""

    episodes: list[Count] | Literal["all"]  # counted from 1
    steps: tuple[Index, Index] | Literal["all"]


class Spec(_Section, frozen=True):
    """A whole model file."""

    description: str
    task: Task
    learning: Learning
    actor: Actor
    critic: Critic
    adam: Adam
    record: list[Record] = []


class Model(NamedTuple):
    """A model file that has been read and found valid."""

    name: str
    text: str  # TOML, overrides included
    spec: Spec

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.spec.description}>"


def load(model: str | Path, overrides: Mapping[str, Any] | None = None) -> Model:
    """Read a model by name (see `names`) or path, with some keys set to other values.

    Parameters
    ----------
    model : name such as "cartpole" or "published/cartpole", or the path of a TOML file.
    overrides : values by dotted key, such as {"actor.N": 40}; None removes the key.

    Raises
    ------
    InputError : no such model, or something in it is not valid.
    """
    name, text = _find(model)
    return parse(text, name, overrides or {})


def parse(text: str, name: str, overrides: Mapping[str, Any] | None = None) -> Model:
    """A model from its TOML text.  Raises InputError."""
    try:
        document = tomlkit.parse(text)
    except tomlkit.exceptions.TOMLKitError as error:
        raise InputError(f"{name}: not valid TOML: {error}.") from None
    for key, value in (overrides or {}).items():
        _override(document, name, key, value)
    text = tomlkit.dumps(document)
    content = tomllib.loads(text)
    try:
        spec = msgspec.convert(content, Spec)
    except msgspec.ValidationError as error:
        raise InputError(f"{name}: {_explain(str(error), content)}") from None
    for path, problem in _inconsistencies(spec):
        raise InputError(f"{name}: {path}: {problem}")
    return Model(name, text, spec)


def names() -> list[str]:
    """Names of the models that come with neurosim."""
    root = _shipped()
    return sorted(p.relative_to(root).with_suffix("").as_posix() for p in root.rglob("*.toml"))


def _shipped() -> Path:
    package = Path(str(files("neurosim"))) / "models"  # installed
    return package if package.is_dir() else Path(__file__).parent.parent / "models"  # checkout


def _find(model: str | Path) -> tuple[str, str]:
    path = _shipped() / f"{model}.toml"
    name = str(model)
    if isinstance(model, Path) or name.endswith(".toml"):
        path = Path(model)
        name = path.stem
    try:
        return name, path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file; a model file is TOML in UTF-8.") from None
    except OSError:
        pass
    close = difflib.get_close_matches(str(model), names(), 3)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    raise InputError(
        f"There is no model {str(model)!r}. {hint}`neurosim list` names the models; "
        "a file of your own is named by its path, ending in .toml."
    )


def _override(document: Any, name: str, key: str, value: Any) -> None:
    *sections, last = key.split(".")
    table = document
    for section in sections:
        table = table.setdefault(section, tomlkit.table())
        if not isinstance(table, dict):
            raise InputError(f"{name}: {key}: {section!r} is a value and has no keys.")
    if value is None:
        table.pop(last, None)
        return
    table[last] = value
    if hasattr(table[last], "comment"):
        table[last].comment("set for this run")


def _explain(message: str, content: dict[str, Any]) -> str:
    """msgspec's message with the key first, then what is wrong, the value and the remedy."""
    problem, _, place = message.partition(" - at `$")
    path = place.rstrip("`").lstrip(".")
    parts = re.findall(r"[^.\[\]]+", path)
    if match := re.search(r"(missing required|unknown) field `(.*)`", problem):
        kind, key = match.groups()
        full = f"{path}.{key}".lstrip(".")
        if kind == "missing required":
            return f"{full}: missing; a model file is complete, so add it."
        known = [field.encode_name for field in msgspec.structs.fields(_type_at(parts))]
        close = difflib.get_close_matches(key, known, 1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        return f"{full}: unknown key. {hint}Keys here are {', '.join(known)}."
    value: Any = content
    for part in parts:
        value = value[int(part)] if isinstance(value, list) else value[part]
    if problem.startswith("Invalid enum value"):
        problem = f"one of {', '.join(map(repr, _choices(_type_at(parts))))} is needed"
    problem = problem.replace("`", "").replace("object", "section").replace("array", "list")
    return f"{path} = {value!r}: {problem[0].lower()}{problem[1:]}."


def _type_at(parts: list[str]) -> Any:
    """The declared type of the key at a path; entries of a list have the list's."""
    kind: Any = Spec
    for part in parts:
        if part.isdigit():
            continue
        if get_origin(kind) is list:
            (kind,) = get_args(kind)
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        kind = fields[part]
    return get_args(kind)[0] if parts and parts[-1].isdigit() else kind


def _choices(kind: Any) -> list[str]:
    """The strings that a type admits."""
    if isinstance(kind, str):
        return [kind]
    return [choice for part in get_args(kind) for choice in _choices(part)]


def _inconsistencies(spec: Spec) -> list[tuple[str, str]]:
    """What single values cannot show: (path, problem) of each."""
    found = []
    for name, team in (("actor", spec.actor), ("critic", spec.critic)):
        hidden = len(team.units)
        gaussian = team.output == "gaussian"
        lengths = {
            "activation": (hidden, "one for each hidden layer"),
            "var": (
                hidden + gaussian,
                "one for each hidden layer" + (" and one for the output" if gaussian else ""),
            ),
            "alpha": (hidden + 1, "one for each hidden layer and one for the output"),
            "anneal_to": (hidden + 1, "one for each hidden layer and one for the output"),
        }
        for key, (length, meaning) in lengths.items():
            value = getattr(team, key)
            if len(value) != length:
                problem = f"{value} has {len(value)} entries; needs {length}, {meaning}."
                found.append((f"{name}.{key}", problem))
    if spec.actor.output == "softmax" and spec.actor.T is None:
        found.append(("actor.T", "missing; a softmax output needs a temperature."))
    if spec.actor.output == "gaussian" and spec.actor.T is not None:
        found.append(("actor.T", "a gaussian output has no temperature; remove it."))
    for index, record in enumerate(spec.record):
        if record.steps != "all" and record.steps[0] >= record.steps[1]:
            problem = f"{list(record.steps)} is empty; give [first, last + 1], counted from 0."
            found.append((f"record[{index}].steps", problem))
    return found
