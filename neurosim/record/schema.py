"""The file schema of a run, version 1: the only place that names groups and columns.

A run file holds, beside its root attributes, the tables ``/episodes`` and ``/steps``, what belongs
to a team under ``/teams/<team>`` and the windows recorded in full detail under ``/windows/<k>``.
"""

from typing import NamedTuple

FORMAT = "neurosim-run"
FORMAT_VERSION = 1

EPISODES = "/episodes"
STEPS = "/steps"
TEAMS = "/teams"
WINDOWS = "/windows"

# Within a run folder:
SEGMENTS_FOLDER = "segments"
SEALED_FILE = "run.h5"

ROOT_ATTRIBUTES = {
    "format": f"always {FORMAT!r}",
    "format_version": "version of this schema",
    "model": "the resolved model file, TOML text",
    "seed": "seed of the run",
    "mode": "'synchronous' or 'asynchronous'",
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
    "steps/value": Field("f8", "mean of the critic's output, feed-forward, at this observation"),
}

# Arrays of a team's memory that a window holds for each of its steps, and their names there.
WINDOW_VALUES = {"sampled": "sampled", "h": "relaxed"}


def weights(team: str, which: str) -> str:
    """Return the group of a team's weights; `which` is initial, final or episode-N."""
    return f"{TEAMS}/{team}/weights/{which}"


def attributes(path: str) -> dict[str, str]:
    """Return the attributes of the column at `path`; none for what is not in a table."""
    field = COLUMNS.get(path)
    if field is None:
        return {}
    if field.units is None:
        return {"description": field.description}
    return {"description": field.description, "units": field.units}
