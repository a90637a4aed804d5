"""Which actions an agent takes as it learns."""

from typing import NamedTuple

import numpy as np

from neurosim.errors import InputError
from neurosim.memory import Floats, Integers
from neurosim.record.reader import Run

BLOCKS = 25  # that a run is divided into


class Shares(NamedTuple):
    """How often each action was taken, by blocks of episodes."""

    last: Integers  # (blocks,) last episode of each block, from 1
    share: Floats  # (blocks, actions) of the steps of the block; rows sum to 1


def shares(run: Run, actions: int, blocks: int = BLOCKS) -> Shares:
    """Shares of the actions of a run, in as many blocks of equally many episodes.

    Parameters
    ----------
    run : any run of a task with discrete actions, with an episode.
    actions : how many actions there are, see `count_actions`.
    blocks : at most; as many as there are episodes, where these are fewer.

    Raises
    ------
    InputError : no finished episode.
    """
    episodes = len(run.episodes)
    if not episodes:
        raise InputError(f"{run.path} has no finished episode, there is nothing to draw.")
    last = np.linspace(0, episodes, min(blocks, episodes) + 1).round().astype(np.int64)[1:]
    ends = np.cumsum(run.episodes["length"][:])[last - 1]
    taken = run.steps["action"][: ends[-1]]
    parts = np.split(taken, ends[:-1])
    counts = np.array([np.bincount(part, minlength=actions) for part in parts])
    return Shares(last, counts / counts.sum(axis=1, keepdims=True))


def count_actions(runs: list[Run]) -> int:
    """How many actions a task has, as far as these runs have taken them.

    Raises
    ------
    InputError : the actions of a run are not discrete or not counted from 0, or it has no step yet.
    """
    largest = 0
    for run in runs:
        if not len(run.steps):
            raise InputError(f"{run.path} has no finished step, there is nothing to draw.")
        taken = run.steps["action"][:]
        if taken.dtype.kind not in "iu" or taken.ndim != 1:
            raise InputError(
                f"{run.path}: its actions are not discrete; shares are of the actions of a softmax "
                "output."
            )
        if taken.min() < 0:
            raise InputError(
                f"{run.path}: its actions begin at {taken.min()}; shares are of actions counted "
                "from 0."
            )
        largest = max(largest, int(taken.max()))
    return largest + 1
