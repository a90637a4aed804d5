"""The file schema of a run, version 2: the only place that names groups, columns and dimensions.

A run file holds, beside its root attributes, the tables ``/episodes`` and ``/steps``, by
Algorithm 1 ``/batches`` alone; what belongs to a team under ``/teams/<team>``; and under
``/windows`` all that was recorded in full detail.
"""

import re
from typing import Any, NamedTuple

import h5py
import numpy as np

from neurosim.kernels.clock import TICKS
from neurosim.kernels.traffic import KINDS
from neurosim.spec import TEAMS as TEAM_NAMES

FORMAT = "neurosim-run"
FORMAT_VERSION = 2

EPISODES = "episodes"
STEPS = "steps"
BATCHES = "batches"  # of a run of Algorithm 1, in place of episodes and steps
TEAMS = "teams"
WINDOWS = "windows"
WINDOW_STEPS = "windows/steps"
EVENTS = "windows/events"

# Within a run folder:
SEGMENTS_FOLDER = "segments"
SEALED_FILE = "run.h5"


class Field(NamedTuple):
    """One column of a table."""

    dtype: str | None  # None: the task, the model or the sizes of the teams decide
    description: str
    units: str | None = None  # None: a pure number, or in the units of the task
    dimensions: tuple[str, ...] = ()  # of a row
    more: dict[str, Any] = {}  # noqa: RUF012  # further attributes


# Tables and the names of their rows' dimension.
ROWS = {
    EPISODES: "episode",
    STEPS: "step",
    BATCHES: "batch",
    WINDOWS: "window",
    WINDOW_STEPS: "recorded_step",
    EVENTS: "event",
}

# By path, as `Recorder.append` takes it.
COLUMNS = {
    "episodes/return": Field("f8", "sum of the rewards of the episode; row k is episode k + 1"),
    "episodes/length": Field("i4", "number of steps of the episode", "steps"),
    "episodes/terminated": Field("?", "the episode ended in a terminal state"),
    "episodes/truncated": Field("?", "the episode was cut off, for instance at the step limit"),
    "episodes/first_step": Field("i8", "row of /steps that holds step 0 of the episode", "rows"),
    "episodes/seed": Field("i8", "seed with which the environment was reset"),
    "steps/episode": Field("i4", "episode of the step, from 1; its steps are numbered from 0"),
    "steps/observation": Field(
        "f8", "observation that the actor and the critic received", dimensions=("component",)
    ),
    "steps/action": Field(
        None, "action as given to the environment", dimensions=("action_component",)
    ),
    "steps/reward": Field("f8", "reward of this row's transition"),
    "steps/td_error": Field("f8", "temporal difference error of this row's transition"),
    "steps/value": Field("f8", "mean of the critic's output, feed-forward, at this observation"),
    "batches/reward": Field("f8", "mean reward of the samples of the batch; row k is batch k + 1"),
    "batches/samples": Field("i8", "samples drawn up to the end of the batch", "samples"),
    "windows/first_step": Field("i8", "row of /steps at which the window begins", "rows"),
    "windows/n_steps": Field("i4", "number of steps of the window", "steps"),
    "windows/episode": Field("i4", "episode of the window, from 1"),
    "windows/first_row": Field("i8", "row of /windows/steps at which the window begins", "rows"),
    "windows/n_events": Field("i8", "number of events of the window", "events"),
    "windows/complete": Field("?", "no unit diverged in the window; if one did, `after` is nan"),
    "windows/steps/step": Field("i8", "row of /steps that this recorded step is", "rows"),
    "windows/steps/first_event": Field(
        "i8", "row of /windows/events at which the step begins", "rows"
    ),
}

_LANES = "values up and errors down, by projection from the first hidden layer up"
COUNTS = {
    "sent": Field("i4", f"packets handed to the wire; {_LANES}", "packets"),
    "delivered": Field("i4", f"packets that had arrived at the window's end; {_LANES}", "packets"),
    "lost": Field("i4", f"packets that never arrive; {_LANES}", "packets"),
    "discarded": Field("i4", f"packets that were overtaken and thrown away; {_LANES}", "packets"),
    "in_flight": Field("i4", f"packets on their way at the window's end; {_LANES}", "packets"),
    "ticks": Field(
        "i4",
        "value ticks, error ticks, value ticks of units not armed",
        "ticks",
        ("kind_of_tick",),
    ),
    "multiply_adds": Field(
        "i4",
        "of the forward products, the feedback products, of learning",
        None,
        ("kind_of_product",),
    ),
    "staleness": Field(
        "i4",
        "mean age of the mailbox at each use, of values and of errors, in bins of a quarter of a "
        "mean tick period, the last one open",
        "uses",
        ("direction", "age"),
    ),
}
for _team in TEAM_NAMES:
    for _name, _field in COUNTS.items():
        _dimensions = _field.dimensions or ("direction", f"{_team}_projection")
        COLUMNS[f"steps/{_team}_{_name}"] = _field._replace(dimensions=_dimensions)
    for _name, _when in (("sampled", "as sampled, before"), ("relaxed", "after")):
        COLUMNS[f"windows/steps/{_team}_{_name}"] = Field(
            "f8",
            f"values of the {_team}'s units {_when} relaxation; a softmax output is one-hot",
            dimensions=(f"{_team}_unit",),
        )

KIND = h5py.enum_dtype({name: code for code, name in enumerate(KINDS)}, basetype="u1")
COLUMNS |= {
    "windows/events/time": Field(
        "i8",
        "when it happened; one time for the whole run",
        f"1/{TICKS} of a mean tick period",
        more={"ticks_per_period": TICKS},
    ),
    "windows/events/team": Field("u1", "0 the actor, 1 the critic"),
    "windows/events/unit": Field(
        None, "unit of the team, from the first hidden one; -1: all that can receive it"
    ),
    "windows/events/kind": Field(
        None,
        "what happened",
        more={
            "flag_values": np.arange(len(KINDS), dtype=np.uint8),
            "flag_meanings": " ".join(KINDS),
        },
    ),
    "windows/events/value": Field(
        None, "the unit's value, its error packet, the payload, the td_error, the gate"
    ),
    "windows/events/source": Field(None, "unit that sent the packet; -1: none"),
    "windows/events/cause": Field(
        "i4",
        "of an arrival or a loss: how many rows earlier the packet was sent; 0: this event sent "
        "a packet; -1: neither",
        "rows",
    ),
}

# Rows of a chunk: those of events are read by the million, the others a few at a time.
EVENT_CHUNK_ROWS = 2**16
CHUNK_BYTES = 2**17

_MATRIX = re.compile(r"[zmv]?([WbB])(\d+)")


def chunk_shape(path: str, dtype: np.dtype[Any], row_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the chunks of a growing dataset: whole rows, or pieces of a row that is large."""
    row_bytes = dtype.itemsize * int(np.prod(row_shape))
    if table_of(path) == EVENTS:
        return EVENT_CHUNK_ROWS, *row_shape
    if row_bytes <= CHUNK_BYTES:
        return max(1, CHUNK_BYTES // max(1, row_bytes)), *(max(1, n) for n in row_shape)
    piece = list(row_shape)
    while dtype.itemsize * int(np.prod(piece)) > 8 * CHUNK_BYTES:
        largest = piece.index(max(piece))
        piece[largest] = (piece[largest] + 1) // 2
    return 1, *piece


def table_of(path: str) -> str:
    """Return the table that a column belongs to; the states of windows belong to /windows."""
    group = path.rpartition("/")[0]
    if group in ROWS:
        return group
    return path.partition("/")[0]


def weights(team: str, which: str) -> str:
    """Return the group of a team's weights; `which` is initial or final."""
    return f"{TEAMS}/{team}/weights/{which}"


def state(team: str, when: str) -> str:
    """Return the group of a team's states at the windows' bounds; `when` is before or after."""
    return f"{WINDOWS}/{team}/{when}"


def attributes(path: str) -> dict[str, Any]:
    """Return the attributes of the column at `path`; none for what is not in a table."""
    field = COLUMNS.get(path)
    if field is None:
        return {}
    units = {} if field.units is None else {"units": field.units}
    return {"description": field.description, **units, **field.more}


def dimensions(path: str, n: int, growing: bool) -> tuple[str, ...]:
    """Return the names of the n dimensions of a dataset."""
    name = path.rpartition("/")[2]
    rows = (ROWS.get(table_of(path), "row"),) if growing else ()
    if path in COLUMNS:
        inner = COLUMNS[path].dimensions
    elif match := _MATRIX.fullmatch(name):
        kind, layer = match[1], int(match[2])
        of, below = _layer(layer), _layer(layer - 1)
        inner = {"W": (of, below), "b": (of,), "B": (below, of)}[kind]
    elif "/totals/" in path and name in COUNTS:
        inner = COUNTS[name].dimensions or ("direction", "projection")
    elif "/units/" in path or name in ("adam_count", "h"):
        inner = ("unit",)
    elif name == "held":
        inner = ("layer",)
    else:
        inner = ()
    named = (*rows, *inner)[:n]
    return *named, *(f"{name}_{axis}" for axis in range(len(named), n))


def _layer(layer: int) -> str:
    return f"layer_{layer}" if layer else "input"
