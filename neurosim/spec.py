"""Model files: TOML text to validated, frozen structs.

A model file is complete and flat; every key stands in it under the paper's symbol.  A section
[timing], whose keys have defaults, makes a model asynchronous; a section [batch] makes it one of
Algorithm 1.  Whatever is wrong in a model is reported at once, with the path of the key, the value
and the remedy.
"""

import difflib
import json
import re
import tomllib
import zlib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args

import msgspec
import tomlkit
from msgspec import Meta, Struct
from tomlkit.items import InlineTable

from neurosim.errors import InputError

Count = Annotated[int, Meta(ge=1, le=10**12)]
Index = Annotated[int, Meta(ge=0, le=10**12)]
Finite = Annotated[float, Meta(ge=-1e300, le=1e300)]
Positive = Annotated[float, Meta(gt=0, le=1e300)]
NotNegative = Annotated[float, Meta(ge=0, le=1e300)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Limit = Annotated[float, Meta(gt=0)]  # inf: no limit
Duration = Annotated[float, Meta(ge=0, le=1e6)]  # periods; a run of them fits 64 bits
Rate = Annotated[float, Meta(ge=0, le=2.0**20)]  # ticks a period; at most one a unit of time
Activation = Literal["softplus", "relu", "tanh", "sigmoid", "linear"]
Mode = Literal["synchronous", "asynchronous"]  # of Algorithm 2
RunMode = Literal[Mode, "monte_carlo"]
Compression = Literal["gzip", "lz4", "none"]
TEAMS = ("actor", "critic")
OF_ALGORITHM_2 = (  # sections, and keys of sections that both algorithms have
    *("critic", "learning", "timing", "record", "initial", "storage.values"),
    *("task.episodes", "task.one_hot", "task.action_map", "actor.lambda", "actor.anneal_to"),
    "actor.hold",
)
STUDIES = "studies/"  # folder of files that are grids of models
LONGEST_SETTINGS = 150  # characters of settings in a model's name
FOLDER_NAME = re.compile(r"[\w.+=\[\],-]*")
MAX_TICKS = 2**18  # of a unit in one window
MIN_RATE = 1e-6  # the lowest but 0, which never ticks: its period is the longest duration
MAX_PROPOSALS = 2**20  # of a pass; their numbers are 20 bits of a random number's name
BY_BACKPROP = ("backprop", "reparameterised")  # rules whose gradients come down the layers

S = TypeVar("S", bound=Struct)


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Task(_Section, frozen=True):
    """What is learned: a Gymnasium environment and for how long."""

    id: str  # a registered Gymnasium environment
    episodes: Count  # of a run
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
    precision: Literal["double", "single"] = "double"  # of all that units and weights are


class Adam(_Section, frozen=True):
    """Adam (Kingma and Ba 2015), for both teams."""

    beta1: Annotated[float, Meta(ge=0, lt=1)]  # decay of the first moments
    beta2: Annotated[float, Meta(ge=0, lt=1)]  # decay of the second moments
    epsilon: Positive  # added to the root of the second moment
    bias_correction_until: Annotated[float, Meta(ge=1)]  # first update without; inf: always with


class TeamSpec(_Section, frozen=True, kw_only=True):
    """What all teams have.  Lists go layer by layer, from the first hidden one up."""

    units: list[Count]  # hidden layers
    activation: list[Activation]  # hidden layers
    alpha: list[NotNegative]  # every layer
    # with defaults: what not every rule has (see `_keys_of_rules`)
    var: list[Positive] = []  # hidden layers, then the output if it is Gaussian
    N: Index = 0  # relaxation steps
    relaxation: Literal["gradient", "hill_climbing"] = "gradient"  # with feedback or without
    step_size: Positive = 1.0  # c: alpha_h = c * var
    proposal: Positive | None = None  # of hill climbing: standard deviation, in the unit's own


class TracedTeam(TeamSpec, frozen=True, kw_only=True):
    """A team of Algorithm 2."""

    anneal_to: list[Fraction]  # every layer
    lambda_: Fraction = msgspec.field(name="lambda")  # trace decay
    hold: list[Count] = []  # hidden layers: steps from one decision to the next; []: 1


class Actor(TracedTeam, frozen=True, kw_only=True):
    """The team that acts."""

    output: Literal["softmax", "gaussian"]  # of Discrete actions, of Box actions
    # how it learns, see docs/algorithm.md
    rule: Literal["map_prop", "reinforce", "thomas", "backprop", "reparameterised"] = "map_prop"
    T: Positive | None = None  # temperature of a softmax output
    explore: Fraction = 1.0  # probability that a hidden unit explores at a time step
    gate_floor = 0.0


class Critic(TracedTeam, frozen=True, kw_only=True):
    """The team that estimates the value (Appendix C); one linear Gaussian output."""

    rule: Literal["map_prop", "backprop", "reparameterised"] = "map_prop"  # how it learns
    gate_floor: NotNegative = 0.0  # smallest |A - mu| in the gate, in standard deviations
    output = "gaussian"
    T = None
    explore = 1.0


class TeamTiming(_Section, frozen=True):
    """When the units of a team act, and what becomes of their packets (docs/asynchronous.md).

    Durations are in periods.  The defaults together are the lock-step limit.  A list goes layer by
    layer from the first hidden one up, or, of packets, projection by projection.
    """

    clock: Literal["synchronous", "periodic", "poisson"] = "synchronous"  # when a unit ticks
    rate: Rate | list[Rate | list[Rate]] = 1.0  # mean ticks a period; of all, layers or units
    rate_spread: Annotated[float, Meta(ge=0, le=3)] = 0.0  # log-normal, of each unit's rate
    # of periodic clocks, as a fraction of the unit's period; None: random
    phase: Annotated[float, Meta(gt=0, le=1)] | Literal["random"] | None = None
    jitter: Annotated[float, Meta(ge=0, lt=0.5)] = 0.0  # of each tick, in periods of the unit
    error_clock: Literal["antiphase", "with_value"] = "antiphase"  # half a period later, or at once
    window: Duration | None = None  # of relaxation; None: N of the team
    delay: Duration | list[Duration] = 0.25  # of packets; of all or of each projection
    error_delay: Duration | list[Duration] | None = None  # of error packets; None: delay
    unit_delay: Duration = 0.0  # at most, of a unit's own on all its packets
    packet_delay: Duration = 0.0  # at most, of each packet's own
    synapse_delay: Duration = 0.0  # at most, of each synapse's own
    reorder: Literal["latest_arrival", "newest"] = "latest_arrival"  # which packet a slot keeps
    loss: Fraction | list[Fraction] = 0.0  # probability; of all or of each projection
    error_loss: Fraction | list[Fraction] | None = None  # of error packets; None: loss
    loss_per: Literal["packet", "synapse"] = "packet"  # lost for all, or by each receiver
    sampling: Literal["dataflow", "timer"] = "dataflow"  # when a unit samples
    sampling_timer: Duration | None = None  # for each layer above the first one
    send_on_delta: NotNegative = 0.0  # least change that is sent, in standard deviations
    quantize: Annotated[int, Meta(ge=0, le=52)] = 0  # significant bits of payloads; 0: all
    # feedback weights: the transposed ones, learned by the unit, their signs alone, fixed
    feedback: Literal["symmetric", "kolen_pollack", "sign_symmetric", "random"] = "symmetric"
    feedback_alignment: Fraction = 1.0  # of initial feedback weights with the transposed ones
    feedback_decay: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # of weights, at each update
    broadcast_delay: Duration | list[Duration | list[Duration]] = 0.0  # of all, layers or units
    broadcast_loss: Fraction | list[Fraction | list[Fraction]] = 0.0  # probability, likewise
    silent_until_first_tick: bool = False  # a hidden unit's error is 0 until its first value tick
    trace_after: Index = 0  # error tick whose g the trace takes; 0: the window's end


class Timing(TeamTiming, frozen=True):
    """The asynchronous mode: settings of both teams, then the keys that are set for one."""

    actor: dict[str, Any] = {}
    critic: dict[str, Any] = {}


class Record(_Section, frozen=True):
    """A window: the steps of the episodes that are recorded in full detail."""

    episodes: list[Count] | Literal["all"]  # counted from 1
    steps: tuple[Index, Index] | Literal["all"]  # the first one, from 0, and the one after the last


class Initial(_Section, frozen=True):
    """Weights to begin with: those that a run of another model with the same seed ended with."""

    model: str  # name or path
    set: dict[str, Any] = {}  # other values for keys of that model


class Storage(_Section, frozen=True):
    """How the record is kept; what is recorded does not depend on it."""

    compression: Compression = "gzip"  # of all tables
    values: Literal["float64", "float32"] = "float64"  # of events


class Spec(_Section, frozen=True):
    """A whole model file."""

    description: str  # one line, shown by `neurosim list`
    task: Task
    learning: Learning
    actor: Actor
    critic: Critic
    adam: Adam
    timing: Timing | None = None  # None: synchronous
    record: list[Record] = []
    initial: Initial | None = None  # None: initial weights are drawn
    storage: Storage = Storage()


class MonteCarloTask(_Section, frozen=True):
    """What is learned by Algorithm 1: an environment of one-step episodes."""

    id: str  # a registered Gymnasium environment, see tasks.OneStep
    options: dict[str, Any] = {}  # keyword arguments of gymnasium.make
    one_hot = False
    action_map = None


class Batch(_Section, frozen=True):
    """How many samples are learned from, and from what."""

    size: Annotated[int, Meta(ge=1, le=2**20)]  # samples whose gradients one Adam step averages
    samples: Count  # of a run; a last batch that would not be full is left out
    signal: Literal["reward", "answer"]  # G, or the task's answer A* (Appendix C)

    @property
    def count(self) -> int:
        """Batches of a run."""
        return self.samples // self.size


class MonteCarloActor(TeamSpec, frozen=True, kw_only=True):
    """The team of Algorithm 1."""

    output: Literal["softmax", "gaussian"]  # of Discrete actions, of Box actions
    rule: Literal["map_prop", "reinforce", "thomas", "backprop"] = "map_prop"  # how it learns
    T: Positive | None = None  # temperature of a softmax output
    action: Literal["sampled", "coin"] = "sampled"  # or mu +- one standard deviation, mu noise-free
    explore: Fraction = 1.0  # probability that a hidden unit explores at a sample
    gate_floor: NotNegative = 0.0  # smallest |A - mu| in the gate, in standard deviations
    anneal_to = 1.0
    lambda_ = 1.0
    hold = ()


class MonteCarloSpec(_Section, frozen=True):
    """A whole model file of Algorithm 1."""

    description: str  # one line, shown by `neurosim list`
    task: MonteCarloTask
    batch: Batch
    actor: MonteCarloActor
    adam: Adam
    storage: Storage = Storage()
    timing = None
    record = ()
    initial = None


class Model(NamedTuple):
    """A model file that has been read and found valid."""

    name: str
    text: str  # TOML, overrides included
    spec: Spec | MonteCarloSpec

    @property
    def mode(self) -> RunMode:
        """Asynchronous, if the model has a section [timing]; Monte-Carlo, if it has [batch]."""
        if isinstance(self.spec, MonteCarloSpec):
            return "monte_carlo"
        return "synchronous" if self.spec.timing is None else "asynchronous"

    @property
    def length(self) -> int:
        """Episodes of a run; batches, where it is one of Algorithm 1."""
        spec = self.spec
        return spec.batch.count if isinstance(spec, MonteCarloSpec) else spec.task.episodes

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.spec.description}>"


def load(
    model: str | Path, overrides: Mapping[str, Any] | None = None, mode: Mode | None = None
) -> Model:
    """Read a model by name (see `names`) or path, with some keys set to other values.

    Parameters
    ----------
    model : name such as "cartpole" or "published/cartpole", or the path of a TOML file.
    overrides : values by dotted key, such as {"actor.N": 40}; None removes the key.
    mode : "synchronous" leaves the section [timing] out, "asynchronous" adds an empty one where
        there is none; None takes the model as it is.

    Raises
    ------
    InputError : no such model, or something in it is not valid.
    """
    name, text = _find(model)
    return parse(text, name, overrides, mode)


def parse(
    text: str,
    name: str,
    overrides: Mapping[str, Any] | None = None,
    mode: Mode | None = None,
) -> Model:
    """A model from its TOML text.  Raises InputError."""
    try:
        document = tomlkit.parse(text)
    except tomlkit.exceptions.TOMLKitError as error:
        raise InputError(f"{name}: not valid TOML: {error}.") from None
    overrides = overrides or {}
    _set_mode(document, name, overrides, mode)
    for key, value in overrides.items():
        _override(document, name, key, value)
    text = tomlkit.dumps(document)
    content = tomllib.loads(text)
    spec: Spec | MonteCarloSpec
    if "batch" in content:
        _refuse_algorithm_2(content, name)
        spec = converted(content, MonteCarloSpec, name)
        inconsistencies = _monte_carlo_inconsistencies(spec)
    else:
        spec = converted(content, Spec, name)
        if spec.timing is not None:
            for team in TEAMS:
                converted(_merged(spec.timing, team), TeamTiming, name, f"timing.{team}.")
        inconsistencies = _inconsistencies(spec)
    for path, problem in (*_keys_of_rules(content, spec), *_lengths(spec), *inconsistencies):
        raise InputError(f"{name}: {path}: {problem}")
    return Model(name, text, spec)


def variant(model: Model, overrides: Mapping[str, Any]) -> Model:
    """A model with other values, which its name tells: "cartpole+actor.N=40".  Raises InputError.

    Of values that make no good name of a folder, many ones or tables, it has the checksum.

    Parameters
    ----------
    model : what `load` returned.
    overrides : as of `load`; none gives the model as it is.
    """
    if not overrides:
        return model
    settings = "+".join(as_settings(overrides))
    if len(settings) > LONGEST_SETTINGS or not FOLDER_NAME.fullmatch(settings):
        settings = f"{zlib.crc32(settings.encode()):08x}"
    name = f"{model.name}+{settings}"
    return parse(model.text, model.name, overrides)._replace(name=name)


def predecessor(model: Model) -> Model | None:
    """The model from whose runs those of a model take their first weights; None: from none.

    Raises
    ------
    InputError : it is no valid model, has a predecessor itself, or layers of other sizes.
    """
    initial = model.spec.initial
    if initial is None:
        return None
    try:
        found = variant(load(initial.model), initial.set)
    except InputError as error:
        raise InputError(f"{model.name}: initial: {error}") from None
    problem = ""
    if isinstance(found.spec, MonteCarloSpec):
        problem = "is one of Algorithm 1; take a model with an actor and a critic"
    elif found.spec.initial is not None:
        problem = "begins with weights of another model itself; take one that does not"
    else:
        for name in TEAMS:
            mine, other = getattr(model.spec, name).units, getattr(found.spec, name).units
            if mine != other:
                problem = f"has {name}.units = {other}, not {mine}; make them the same"
    if problem:
        raise InputError(f"{model.name}: initial.model = {initial.model!r}: it {problem}.")
    return found


def as_settings(overrides: Mapping[str, Any]) -> list[str]:
    """Overrides as the texts that `--set` reads, without spaces: "actor.var=[0.3,1.0]"."""
    return [
        f"{key}={value if isinstance(value, str) else _as_toml(value)}"
        for key, value in overrides.items()
    ]


def _as_toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_as_toml, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(k)}={_as_toml(v)}' for k, v in value.items())}}}"
    return json.dumps(value) if isinstance(value, str | bool) else str(value)


def timing_of(spec: Spec | MonteCarloSpec, team: str) -> Timing:
    """The timing of one team, "actor" or "critic"; the lock-step limit if the model has none."""
    return msgspec.convert(_merged(spec.timing or Timing(), team), Timing)


def names() -> list[str]:
    """Names of the models that come with neurosim."""
    return [name for name in _shipped_names() if not name.startswith(STUDIES)]


def studies() -> list[str]:
    """Names of the studies that come with neurosim."""
    return [name for name in _shipped_names() if name.startswith(STUDIES)]


def _shipped_names() -> list[str]:
    root = shipped()
    return sorted(p.relative_to(root).with_suffix("").as_posix() for p in root.rglob("*.toml"))


def shipped() -> Path:
    """The folder of the models and studies that come with neurosim."""
    package = Path(str(files("neurosim"))) / "models"  # installed
    return package if package.is_dir() else Path(__file__).parent.parent / "models"  # checkout


def _find(model: str | Path) -> tuple[str, str]:
    path = shipped() / f"{model}.toml"
    name = str(model)
    if isinstance(model, Path) or name.endswith(".toml"):
        path = Path(model)
        name = path.stem
    if name in studies():
        raise InputError(f"{name} is a study, no model; `neurosim compare {name}` carries it out.")
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


def _set_mode(document: Any, name: str, overrides: Mapping[str, Any], mode: Mode | None) -> None:
    if mode not in (None, *get_args(Mode)):
        raise InputError(
            f"mode = {mode!r}: one of {', '.join(map(repr, get_args(Mode)))}, or None."
        )
    if mode is not None and "batch" in document:
        raise InputError(
            f"{name}: mode = {mode!r}: a model with [batch] is one of Algorithm 1, which has no "
            "modes; leave --mode out."
        )
    if mode == "asynchronous" and "timing" not in document:
        document["timing"] = tomlkit.table()
    if mode == "synchronous":
        document.pop("timing", None)
        for key in overrides:
            if key.partition(".")[0] == "timing":
                raise InputError(
                    f"{name}: {key}: set but mode is synchronous; "
                    "leave it out or use --mode asynchronous."
                )


def _override(document: Any, name: str, key: str, value: Any) -> None:
    *sections, last = key.split(".")
    table = document
    for section in sections:
        if value is None and section not in table:
            return  # nothing to remove
        inline = isinstance(table, InlineTable)
        new = tomlkit.inline_table() if inline else tomlkit.table()
        table = table.setdefault(section, new)
        if not isinstance(table, dict):
            raise InputError(f"{name}: {key}: {section!r} is a value and has no keys.")
    if value is None:
        table.pop(last, None)
        return
    table[last] = _plain(value)
    if hasattr(table[last], "comment") and not isinstance(table, InlineTable):
        table[last].comment("set for this run")


def _plain(value: Any) -> Any:
    """A value whose numbers may be NumPy's, without these."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value


def _refuse_algorithm_2(content: dict[str, Any], name: str) -> None:
    """Raise InputError where a model with [batch] has what belongs to Algorithm 2."""
    for path in OF_ALGORITHM_2:
        section, _, key = path.partition(".")
        value = content.get(section)
        if key:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            raise InputError(
                f"{name}: {path} = {value!r}: belongs to Algorithm 2, and a model with [batch] is "
                "one of Algorithm 1, of one team and episodes of one step; remove it, or [batch]."
            )


def _merged(timing: Timing, team: str) -> dict[str, Any]:
    """The settings of both teams, and over them those of one."""
    shared = {key: getattr(timing, key) for key in TeamTiming.__struct_fields__}
    own: dict[str, Any] = getattr(timing, team)
    return shared | own


def converted(content: dict[str, Any], kind: type[S], name: str, prefix: str = "") -> S:
    """The struct that a table is; `prefix` is the path of the table in the file.

    Raises
    ------
    InputError : a key is missing, unknown, or has another type.
    """
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{name}: {prefix}{_explain(str(error), content, kind)}") from None


def _explain(message: str, content: dict[str, Any], kind: type[Struct]) -> str:
    """msgspec's message with the key first, then what is wrong, the value and the remedy."""
    problem, _, place = message.partition(" - at `$")
    path = place.rstrip("`").lstrip(".")
    parts = re.findall(r"[^.\[\]]+", path)
    if match := re.search(r"(missing required|unknown) field `(.*)`", problem):
        fault, key = match.groups()
        full = f"{path}.{key}".lstrip(".")
        if fault == "missing required":
            return f"{full}: missing; a model file is complete, so add it."
        section = _section(_type_at(parts, kind))
        known = [field.encode_name for field in msgspec.structs.fields(section)]
        close = difflib.get_close_matches(key, known, 1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        return f"{full}: unknown key. {hint}Keys here are {', '.join(known)}."
    value: Any = content
    for part in parts:
        value = value[int(part)] if isinstance(value, list) else value[part]
    if problem.startswith("Invalid enum value"):
        problem = f"one of {', '.join(map(repr, _choices(_type_at(parts, kind))))} is needed"
    problem = (
        problem.replace("`", "")
        .replace(" | null", "")
        .replace("object", "section")
        .replace("array", "list")
    )
    return f"{path} = {value!r}: {problem[0].lower()}{problem[1:]}."


def _type_at(parts: list[str], kind: Any) -> Any:
    """The declared type of the key at a path; entries of a list have the list's."""
    for part in parts:
        if not part.isdigit():
            fields = {f.encode_name: f.type for f in msgspec.structs.fields(_section(kind))}
            kind = fields[part]
    return kind


def _section(kind: Any) -> Any:
    """The section in a type such as list[Record] or Timing | None."""
    return _section(get_args(kind)[0]) if get_args(kind) else kind


def _choices(kind: Any) -> list[str]:
    """The strings that a type admits."""
    if isinstance(kind, str):
        return [kind]
    return [choice for part in get_args(kind) for choice in _choices(part)]


def _teams(spec: Spec | MonteCarloSpec) -> dict[str, Actor | Critic | MonteCarloActor]:
    if isinstance(spec, MonteCarloSpec):
        return {"actor": spec.actor}
    return {"actor": spec.actor, "critic": spec.critic}


def _keys_of_rules(
    content: dict[str, Any], spec: Spec | MonteCarloSpec
) -> Iterator[tuple[str, str]]:
    """Keys of a team that are missing, or that its rule, output or signal has no use for."""
    for name, team in _teams(spec).items():
        rule, relaxes = f"rule = {team.rule!r}", team.rule == "map_prop"
        climbs = relaxes and team.relaxation == "hill_climbing"
        way = f"relaxation = {team.relaxation!r}" if relaxes else rule
        gated, of_gate = relaxes, rule
        if isinstance(spec, MonteCarloSpec) and relaxes:
            gated = spec.batch.signal == "answer"
            of_gate = f"{rule} and batch.signal = {spec.batch.signal!r}"
        uses = [  # key, whether it is used, because of what
            ("T", team.output == "softmax", f"output = {team.output!r}"),
            ("var", any(_has_variances(team)), rule),
            ("N", relaxes, rule),
            ("step_size", relaxes and not climbs, way if climbs else rule),
            ("proposal", climbs, way),
            ("gate_floor", gated, of_gate),
            ("explore", team.rule == "thomas", rule),
        ]
        given = content[name]
        for key, used, reason in uses:
            if used and key in team.__struct_fields__ and key not in given:
                problem = f"missing; {reason} needs it, and a model file is complete."
                yield f"{name}.{key}", problem
            if not used and key in given:
                yield f"{name}.{key}", f"{given[key]} has no meaning with {reason}; remove it."
        if not relaxes and "relaxation" in given:
            problem = f"{team.relaxation!r} has no meaning with {rule}; remove it."
            yield f"{name}.relaxation", problem
        if climbs and team.N >= MAX_PROPOSALS:
            yield f"{name}.N", f"{team.N} proposals are {MAX_PROPOSALS} or more; lower it."


def _has_variances(team: Actor | Critic | MonteCarloActor) -> tuple[bool, bool]:
    """Whether the hidden layers of a team have variances, and whether its output has one."""
    samples = isinstance(team, Actor) or team.rule not in BY_BACKPROP
    return team.rule != "backprop", team.output == "gaussian" and samples


def _lengths(spec: Spec | MonteCarloSpec) -> Iterator[tuple[str, str]]:
    """Lists of teams that have other lengths than their layers."""
    for name, team in _teams(spec).items():
        hidden = len(team.units)
        of_hidden, of_output = _has_variances(team)
        meanings = ["one for each hidden layer"] * of_hidden + ["one for the output"] * of_output
        lengths = {
            "activation": (hidden, "one for each hidden layer"),
            "var": (hidden * of_hidden + of_output, " and ".join(meanings)),
            "alpha": (hidden + 1, "one for each hidden layer and one for the output"),
            "anneal_to": (hidden + 1, "one for each hidden layer and one for the output"),
        }
        if team.hold:
            lengths["hold"] = (hidden, "one for each hidden layer")
        for key, (length, meaning) in lengths.items():
            value = getattr(team, key)
            if key in team.__struct_fields__ and len(value) != length:
                problem = f"{value} has {len(value)} entries; needs {length}, {meaning}."
                yield f"{name}.{key}", problem


def _inconsistencies(spec: Spec) -> Iterator[tuple[str, str]]:
    """What single values of a model of Algorithm 2 cannot show: (path, problem) of each."""
    for index, record in enumerate(spec.record):
        last = spec.task.episodes
        if record.episodes != "all" and min(record.episodes, default=last + 1) > last:
            problem = f"{record.episodes}: a run has no such episode; name one up to {last}"
            yield f"record[{index}].episodes", f"{problem}, or raise task.episodes."
        if record.steps != "all" and record.steps[0] >= record.steps[1]:
            problem = f"{list(record.steps)} is empty; give [first, last + 1], counted from 0."
            yield f"record[{index}].steps", problem
    if spec.timing is None and spec.storage.values != "float64":
        problem = f"{spec.storage.values!r} is of events, which need a section [timing]; remove it."
        yield "storage.values", problem
    rules = {"actor": spec.actor.rule, "critic": spec.critic.rule}
    if spec.learning.stale_first_mean and "map_prop" not in rules.values():
        problem = 'true needs a team that relaxes, one with rule = "map_prop"; set it to false.'
        yield "learning.stale_first_mean", problem
    for name in TEAMS:
        yield from _hold_inconsistencies(spec, name)
        if getattr(spec, name).relaxation != "hill_climbing":
            continue
        if spec.learning.stale_first_mean:
            problem = (
                f"true is a habit of relaxation by gradient, and {name}.relaxation = "
                "'hill_climbing' has no first mean; set it to false."
            )
            yield "learning.stale_first_mean", problem
        if spec.timing is not None:
            problem = (
                "'hill_climbing' is synchronous, as the energy is that of all units at one time; "
                'set it to "gradient", or leave out [timing].'
            )
            yield f"{name}.relaxation", problem
    if spec.learning.precision == "single":
        yield from _single_inconsistencies(spec)
    if spec.timing is not None:
        for name, rule in rules.items():
            if rule != "map_prop":
                problem = f'{rule!r} is synchronous; set it to "map_prop", or leave out [timing].'
                yield f"{name}.rule", problem
        if spec.learning.stale_first_mean:
            problem = (
                "true is a habit of the synchronous mode; set it to false, or leave out [timing]."
            )
            yield "learning.stale_first_mean", problem
        for name in TEAMS:
            yield from _timing_inconsistencies(spec, name)


def _single_inconsistencies(spec: Spec) -> Iterator[tuple[str, str]]:
    """What units that compute in single precision cannot be combined with."""
    if spec.timing is not None:
        problem = "'single' is synchronous; set it to \"double\", or leave out [timing]."
        yield "learning.precision", problem
    if spec.critic.rule == "map_prop" and spec.critic.gate_floor == 0.0:
        problem = (
            "0.0 lets the gate 1 / (A - mu) overflow where learning.precision = 'single', in which "
            'A = mu does occur; set it to 0.01, or learning.precision = "double".'
        )
        yield "critic.gate_floor", problem


def _hold_inconsistencies(spec: Spec, name: str) -> Iterator[tuple[str, str]]:
    """What units that hold their values cannot be combined with."""
    team: Actor | Critic = getattr(spec, name)
    if all(steps == 1 for steps in team.hold):
        return
    if team.rule in BY_BACKPROP:
        reason = f"rule = {team.rule!r}, as units that learn by backprop decide at every step"
    elif team.relaxation == "hill_climbing":
        reason = f"relaxation = {team.relaxation!r}"
    elif spec.timing is not None:
        reason = "[timing], as its steps are those of all units together"
    else:
        return
    yield f"{name}.hold", f"{team.hold} cannot be had with {reason}; leave out one of them."


def _monte_carlo_inconsistencies(spec: MonteCarloSpec) -> Iterator[tuple[str, str]]:
    """What single values of a model of Algorithm 1 cannot show: (path, problem) of each."""
    actor, batch = spec.actor, spec.batch
    gaussian = actor.output == "gaussian"
    if batch.samples < batch.size:
        yield "batch.samples", f"{batch.samples} is less than one batch of {batch.size}; raise it."
    if batch.signal == "answer" and not gaussian:
        yield "batch.signal", "'answer' needs a gaussian output; set it to \"reward\"."
    if batch.signal == "answer" and actor.rule not in ("map_prop", "backprop"):
        yield "batch.signal", f"'answer' is not for rule = {actor.rule!r}; set it to \"reward\"."
    if actor.action == "coin" and batch.signal != "answer":
        problem = f'{actor.action!r} needs batch.signal = "answer"; set it to "sampled".'
        yield "actor.action", problem
    if actor.action == "coin" and actor.rule != "map_prop":
        yield "actor.action", f"'coin' is not for rule = {actor.rule!r}; set it to \"sampled\"."
    if batch.signal == "reward" and actor.rule == "backprop" and gaussian:
        yield (
            "batch.signal",
            "'reward' needs an output that is sampled, and by backprop a gaussian one is not; "
            'set it to "answer".',
        )


def _timing_inconsistencies(spec: Spec, name: str) -> Iterator[tuple[str, str]]:
    """The same for the timing of one team of Algorithm 2."""
    timing, team = timing_of(spec, name), getattr(spec, name)
    own = getattr(spec.timing, name)  # keys set for this team alone
    for key, problem in (*_conflicts(timing), *_wrong_lengths(timing, team, name)):
        section = f"timing.{name}" if key.partition("[")[0] in own else "timing"
        yield f"{section}.{key}", problem
    fastest = max(_numbers(timing.rate), default=0)
    periods, place = timing.window, f"timing.{name}.window" if "window" in own else "timing.window"
    if periods is None:
        periods, place = team.N, f"{name}.N"
    if periods * fastest >= MAX_TICKS:
        problem = f"periods at rate {fastest} are {MAX_TICKS} ticks or more; lower one of them."
        yield place, f"{periods} {problem}"


def _conflicts(timing: Timing) -> Iterator[tuple[str, str]]:
    """Keys that need another value of another key."""
    ticking = timing.clock != "synchronous", 'clock = "periodic" or "poisson"'
    periodic = timing.clock == "periodic", 'clock = "periodic"'
    timer = timing.sampling == "timer", 'sampling = "timer"'
    timed = timing.sampling_timer is not None, "sampling_timer, in periods"
    one_delay = timing.synapse_delay == 0, "synapse_delay = 0.0"
    one_loss = timing.loss_per == "packet", 'loss_per = "packet"'
    learned = timing.feedback == "kolen_pollack", 'feedback = "kolen_pollack"'
    rates = _numbers(timing.rate)
    uses = [  # key, whether it is used, what it needs then
        ("rate", any(rate != 1 for rate in rates), ticking),
        ("rate", any(0 < rate < MIN_RATE for rate in rates), (False, f"0, or {MIN_RATE} at least")),
        ("rate_spread", timing.rate_spread != 0, ticking),
        ("phase", timing.phase is not None, periodic),
        ("jitter", timing.jitter != 0, periodic),
        ("packet_delay", timing.packet_delay != 0, one_delay),
        ("packet_delay", timing.packet_delay != 0, one_loss),
        ("reorder", timing.reorder == "newest", one_delay),
        ("reorder", timing.reorder == "newest", one_loss),
        ("sampling", timing.sampling == "timer", timed),
        ("sampling_timer", timing.sampling_timer is not None, timer),
        ("feedback_alignment", timing.feedback_alignment != 1, learned),
        ("feedback_decay", timing.feedback_decay != 0, learned),
    ]
    for key, used, (fits, needed) in uses:
        if used and not fits:
            yield key, f"{getattr(timing, key)!r} needs {needed}; set that, or leave {key} out."


def _wrong_lengths(timing: Timing, team: TeamSpec, name: str) -> Iterator[tuple[str, str]]:
    """Lists that do not fit the layers of the team."""
    layers = "one for each hidden layer and one for the output"
    projections = "one for each projection from the first hidden layer up"
    hidden = len(team.units)
    sizes = [*team.units] + [1] * (name == "critic")  # the task knows the size of the action
    lists: list[tuple[str, Any, int, str]] = []
    for key in ("rate", "broadcast_delay", "broadcast_loss"):
        value = getattr(timing, key)
        lists.append((key, value, hidden + 1, layers))
        for layer, size in enumerate(sizes):
            if isinstance(value, list) and layer < len(value):
                lists.append((f"{key}[{layer}]", value[layer], size, "one for each unit"))
    for key in ("delay", "error_delay", "loss", "error_loss"):
        lists.append((key, getattr(timing, key), hidden, projections))
    for key, value, length, meaning in lists:
        if isinstance(value, list) and len(value) != length:
            problem = f"has {len(value)} entries; the {name} needs {length}, {meaning}."
            yield key, f"{value} {problem}"


def _numbers(value: Any) -> list[float]:
    """All numbers in a number or a nested list."""
    return [n for part in value for n in _numbers(part)] if isinstance(value, list) else [value]
