"""Returns of the episodes of a run (Table 1, Fig. 2)."""

from typing import NamedTuple

import numpy as np

from neurosim.memory import Floats


class ReturnSummary(NamedTuple):
    """What Table 1 says of one run, and what one wants to know besides."""

    episodes: int
    steps: int
    mean: float  # average return over all episodes, Table 1's figure
    last: float  # average return over the last 100 episodes
    best: float  # highest return of an episode


def running_average(returns: Floats, window: int = 100) -> Floats:
    """Average of the last `window` returns at each episode, of as many as there are before that.

    Parameters
    ----------
    returns : (episodes,)
    window : episodes averaged over; Fig. 2 uses 100.

    Returns
    -------
    (episodes,)
    """
    total = np.concatenate([[0.0], np.cumsum(returns)])
    end = np.arange(1, returns.size + 1)
    start = np.maximum(end - window, 0)
    average: Floats = (total[end] - total[start]) / (end - start)
    return average


def summarise(returns: Floats, lengths: np.ndarray) -> ReturnSummary:
    """Summary of a run's returns (episodes,) and episode lengths (episodes,)."""
    return ReturnSummary(
        episodes=returns.size,
        steps=int(lengths.sum()),
        mean=float(returns.mean()),
        last=float(returns[-100:].mean()),
        best=float(returns.max()),
    )
