"""Trajectories of episodes through the space of observations (Fig. 5)."""

import numpy as np

from neurosim.errors import InputError
from neurosim.memory import Floats
from neurosim.record.reader import Run


def episode_rows(run: Run, episode: int) -> slice:
    """Rows of /steps that an episode takes.

    Parameters
    ----------
    run : any run, complete or not.
    episode : counted from 1.

    Raises
    ------
    InputError : the run has not finished that episode.
    """
    finished = len(run.episodes)
    if not 1 <= episode <= finished:
        held = f"episodes 1 to {finished}" if finished else "no finished episode"
        raise InputError(f"episode {episode}: {run.path} holds {held}; give one of these.")
    first = int(run.episodes["first_step"][episode - 1])
    return slice(first, first + int(run.episodes["length"][episode - 1]))


def trajectory(run: Run, episode: int, components: tuple[int, int]) -> Floats:
    """Two components of what the agent observed at each step of an episode.

    Parameters
    ----------
    run : any run, complete or not.
    episode : counted from 1.
    components : numbers of the two, see `observations.find_component`.

    Returns
    -------
    (length, 2), in the units of the task.  The last row is the state of the last action; the one
    that it led to is not recorded.

    Raises
    ------
    InputError : the run has not finished that episode.
    """
    observations = run.steps["observation"][episode_rows(run, episode)]
    points: Floats = np.asarray(observations)[:, list(components)]
    return points
