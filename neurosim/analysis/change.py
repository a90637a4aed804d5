"""How far the weights of a team have come from those that it began with."""

from typing import NamedTuple

import numpy as np

from neurosim.analysis.moments import done, of_checkpoints, recorded
from neurosim.memory import Floats
from neurosim.record.reader import Run


class Change(NamedTuple):
    """Of a team with L layers, at the moments of a run at which its weights are held."""

    done: (
        Floats  # (moments,) episodes, or batches, done; within an episode by the part of its steps
    )
    relative: Floats  # (moments, L) of W[l], a pure number; nan where it began with zeros


def weight_change(run: Run, team: str) -> Change:
    """Distance of the weights of each layer from the initial ones, relative to those.

        |W[l] - W0[l]| / |W0[l]|,    |W| the root of the sum of the squares of all entries

    The moments are the beginning of the run, the checkpoints in its folder, the first and the last
    step of each window, and the end of a run that is complete.

    Raises
    ------
    InputError : there is no such team.
    """
    moments = [*recorded(run, team), *of_checkpoints(run, team)]
    moments.sort(key=lambda held: held.row)
    first = moments[0].weights
    names = [f"W{l}" for l in range(1, 1 + sum(name[0] == "W" for name in first))]
    norms = np.array([np.linalg.norm(first[name]) for name in names])
    distances = np.array(
        [[np.linalg.norm(held.weights[name] - first[name]) for name in names] for held in moments]
    )
    relative = np.divide(distances, norms, out=np.full(distances.shape, np.nan), where=norms > 0)
    return Change(done(run, [held.row for held in moments]), relative)
