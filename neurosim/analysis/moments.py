"""The moments of a run at which the weights of its teams are held."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from neurosim.memory import Floats, Integers
from neurosim.record import checkpoint
from neurosim.record.reader import Run


class Held(NamedTuple):
    """The weights of a team at a moment."""

    what: str  # "initial", "window", "checkpoint" or "final"
    row: int  # rows of /steps before it; of a run of batches, rows of /batches
    weights: Mapping[str, Floats]  # W1 (n(1), n(0)), b1 (n(1),), W2 and so on


def recorded(run: Run, team: str) -> list[Held]:
    """What run.h5 holds: the beginning, those of each window, and the end of a complete run.

    Raises
    ------
    InputError : there is no such team.
    """
    held = [Held("initial", 0, run.weights(team, "initial"))]
    for window in run.windows:
        held.append(Held("window", window.first_step, window.before(team)))
        if window.complete:
            end = window.first_step + window.n_steps
            held.append(Held("window", end, window.after(team)))
    if run.complete:
        rows = max(len(run.steps), len(run.batches))
        held.append(Held("final", rows, run.weights(team, "final")))
    return held


def of_checkpoints(run: Run, team: str) -> list[Held]:
    """What the checkpoints in a run's folder hold, those after its beginning and before its end."""
    initial = run.weights(team, "initial")
    shapes = {key: array.shape for key, array in initial.items() if key[0] in "Wb"}
    total = max(len(run.episodes), len(run.batches))
    folder = run.path if run.path.is_dir() else run.path.parent
    held = []
    for number, path in checkpoint.kept(folder).items():
        if not 0 < number < total:
            continue
        flat, named, first = checkpoint.load(path)[0][f"{team}/w"], {}, 0
        for key in sorted(shapes, key=lambda name: (int(name[1:]), name)):
            size = int(np.prod(shapes[key]))
            named[key] = flat[first : first + size].reshape(shapes[key])
            first += size
        row = number if len(run.batches) else int(run.episodes["first_step"][number])
        held.append(Held("checkpoint", row, named))
    return held


def done(run: Run, rows: Integers | list[int]) -> Floats:
    """Episodes, or batches, that were done before some rows; within an episode by the part of its
    steps.

    Parameters
    ----------
    rows (n,) : of /steps, or of /batches.

    Returns
    -------
    (n,)
    """
    if len(run.batches):
        return np.asarray(rows, float)
    ends = np.append(run.episodes["first_step"][:], len(run.steps))
    return np.interp(rows, ends, np.arange(ends.size))
