"""Coverage of the state space: how much of it an agent has seen (exploration)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from neurosim.analysis.observations import observed
from neurosim.errors import InputError
from neurosim.memory import Floats, Integers
from neurosim.record.reader import Run

ROWS = 65_536  # of /steps, read at once
Bounds = tuple[float, float]


class Coverage(NamedTuple):
    """Cells of a grid over two components of the observation that a run has visited."""

    fraction: Floats  # (episodes,) of all cells, visited up to the end of each episode
    visits: Integers  # (bins, bins) steps in each cell: first component, second component


def bounds_of(runs: Sequence[Run], components: tuple[int, int]) -> tuple[Bounds, Bounds]:
    """The bounds that the environment keeps; where it keeps none, the range that runs have seen.

    Returns
    -------
    For each of the two components (low, high), in the units of the task.
    """
    found = []
    for axis, component in enumerate(components):
        known = observed(runs[0]).components[component]
        if known.low is not None and known.high is not None:
            found.append((float(known.low), float(known.high)))
            continue
        parts = [points[:, axis] for run in runs for _, points in _points(run, components)]
        found.append((float(min(map(np.min, parts))), float(max(map(np.max, parts)))))
    return found[0], found[1]


def coverage(
    run: Run, components: tuple[int, int], bounds: tuple[Bounds, Bounds], bins: int = 20
) -> Coverage:
    """How much of a grid a run has visited.

    fraction[k] = |cells with a state of episodes 1 ... k + 1| / bins**2.  Cells are half open but
    for the last one; states beyond the bounds are in no cell.

    Parameters
    ----------
    run : any run with an episode.
    components : numbers of two components, see `observations.find_component`.
    bounds : (low, high) of the two, in the units of the task.
    bins : cells along each of them.

    Raises
    ------
    InputError : no finished episode, or no cell.
    """
    if bins < 1:
        raise InputError(f"bins = {bins}: a grid has one cell along each component at least.")
    episodes = len(run.episodes)
    if not episodes:
        raise InputError(f"{run.path} has no finished episode, there is nothing to draw.")
    visits = np.zeros(bins * bins, np.int64)
    first = np.full(bins * bins, episodes)  # episode, from 0, of a cell's first visit
    low, high = np.array(bounds).T
    width = np.where(high > low, high - low, 1.0)
    for episode, points in _points(run, components):
        inside = np.all((points >= low) & (points <= high), axis=1) & (episode <= episodes)
        cells = np.minimum((points[inside] - low) / width * bins, bins - 1).astype(np.int64)
        flat = cells[:, 0] * bins + cells[:, 1]
        visits += np.bincount(flat, minlength=bins * bins)
        np.minimum.at(first, flat, episode[inside] - 1)
    new = np.bincount(first, minlength=episodes + 1)[:episodes]
    fraction: Floats = np.cumsum(new) / bins**2
    return Coverage(fraction, visits.reshape(bins, bins))


def _points(run: Run, components: tuple[int, int]) -> Iterator[tuple[Integers, Floats]]:
    """Blocks of steps: episode (n,) and two components of the observation (n, 2)."""
    for start in range(0, len(run.steps), ROWS):
        rows = slice(start, start + ROWS)
        yield run.steps["episode"][rows], run.steps["observation"][rows][:, list(components)]
