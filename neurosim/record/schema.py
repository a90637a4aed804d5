"""The file schema of a run, version 1: the only place that names groups and columns.

A run file holds, beside its root attributes, the tables ``/episodes`` and ``/steps``, what belongs
to a team under ``/teams/<team>`` and the windows recorded in full detail under ``/windows/<k>``.
"""

from typing import Any, NamedTuple

import h5py
import numpy as np

from neurosim.kernels.clock import TICKS
from neurosim.kernels.traffic import KINDS
from neurosim.spec import TEAMS as TEAM_NAMES

FORMAT = "neurosim-run"
FORMAT_VERSION = 1

EPISODES = "/episodes"
STEPS = "/steps"
TEAMS = "/teams"
WINDOWS = "/windows"
BATCHES = "/batches"  # of a run of Algorithm 1, in place of /episodes and /steps

# Within a run folder:
SEGMENTS_FOLDER = "segments"
SEALED_FILE = "run.h5"

ROOT_ATTRIBUTES = {
    "format": f"always {FORMAT!r}",
    "format_version": "version of this schema",
    "model": "the resolved model file, TOML text",
    "seed": "seed of the run",
    "mode": "'synchronous', 'asynchronous' or 'monte_carlo'",
    "created": "when the run began, ISO 8601",
    "complete": "whether the run reached its end",
    "versions": "versions of neurosim and of the packages it ran with",
    "segments": "number and total bytes of the segments that the sealed file was made from",
}


class Field(NamedTuple):
    """One column of a table."""

    dtype: str | None  # None: the task decides
    description: str
    units: str | None = None  # None: a pure number, or in the units of the task
    more: dict[str, Any] = {}  # noqa: RUF012  # further attributes


# By path, as `SegmentWriter.append` takes it.
COLUMNS = {
    "episodes/return": Field("f8", "sum of the rewards of the episode; row k is episode k + 1"),
    "episodes/length": Field("i4", "number of steps of the episode", "steps"),
    "episodes/terminated": Field("?", "the episode ended in a terminal state"),
    "episodes/truncated": Field("?", "the episode was cut off, for instance at the step limit"),
    "episodes/first_step": Field("i8", "row of /steps that holds step 0 of the episode", "rows"),
    "episodes/seed": Field("i8", "seed with which the environment was reset"),
    "steps/episode": Field("i4", "episode of the step, from 1; its steps are numbered from 0"),
    "steps/observation": Field("f8", "observation that the actor and the critic received"),
    "steps/action": Field(None, "action as given to the environment"),
    "steps/reward": Field("f8", "reward of this row's transition"),
    "steps/td_error": Field("f8", "temporal difference error of this row's transition"),
    "batches/reward": Field("f8", "mean reward of the samples of the batch; row k is batch k + 1"),
    "batches/samples": Field("i8", "samples drawn up to the end of the batch", "samples"),
    "steps/value": Field("f8", "mean of the critic's output, feed-forward, at this observation"),
}

_LANES = "values up and errors down, by projection from the first hidden layer up"
COUNTS = {
    "sent": Field("i4", f"packets handed to the wire; {_LANES}", "packets"),
    "delivered": Field("i4", f"packets that had arrived at the window's end; {_LANES}", "packets"),
    "lost": Field("i4", f"packets that never arrive; {_LANES}", "packets"),
    "discarded": Field("i4", f"packets that were overtaken and thrown away; {_LANES}", "packets"),
    "in_flight": Field("i4", f"packets on their way at the window's end; {_LANES}", "packets"),
    "ticks": Field("i4", "value ticks, error ticks, value ticks of units not armed", "ticks"),
    "multiply_adds": Field("i4", "of the forward products, the feedback products, of learning"),
    "staleness": Field(
        "i4",
        "mean age of the mailbox at each use, of values and of errors, in bins of a quarter of a "
        "mean tick period, the last one open",
        "uses",
    ),
}
COLUMNS |= {f"steps/{team}_{name}": field for team in TEAM_NAMES for name, field in COUNTS.items()}

# Rows of windows/<k>/events.
KIND = h5py.enum_dtype({name: code for code, name in enumerate(KINDS)}, basetype="u1")
EVENTS = {
    "time": Field(
        "i8",
        "when it happened; one time for the whole run",
        f"1/{TICKS} of a mean tick period",
        {"ticks_per_period": TICKS},
    ),
    "team": Field("u1", "0 the actor, 1 the critic"),
    "unit": Field("i4", "unit of the team, from the first hidden one; -1: all that can receive it"),
    "kind": Field(
        None,
        "what happened",
        None,
        {
            "flag_values": np.arange(len(KINDS), dtype=np.uint8),
            "flag_meanings": " ".join(KINDS),
        },
    ),
    "value": Field("f8", "the unit's value, its error packet, the payload, the td_error, the gate"),
    "source": Field("i4", "unit that sent the packet; -1: none"),
    "packet": Field("i8", "packet that was sent, arrived or was lost, by number; -1: none"),
}

# Arrays of a team's memory that a window holds for each of its steps, and their names there.
WINDOW_VALUES = {"sampled": "sampled", "h": "relaxed"}


def weights(team: str, which: str) -> str:
    """Return the group of a team's weights; `which` is initial, final or episode-N."""
    return f"{TEAMS}/{team}/weights/{which}"


def attributes(path: str) -> dict[str, Any]:
    """Return the attributes of the column at `path`; none for what is not in a table."""
    group, _, name = path.rpartition("/")
    field = EVENTS.get(name) if group.endswith("/events") else COLUMNS.get(path)
    if field is None:
        return {}
    units = {} if field.units is None else {"units": field.units}
    return {"description": field.description, **units, **field.more}
