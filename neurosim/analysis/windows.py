"""The windows of a run and the units of its teams, as the analyses of single steps need them."""

from typing import NamedTuple

import numpy as np

from neurosim.errors import InputError
from neurosim.memory import Integers
from neurosim.record.reader import Run, Window
from neurosim.spec import Spec, timing_of


class Units(NamedTuple):
    """The units of a team, hidden layers and output in order."""

    layer: Integers  # (units,) from 1
    window: float  # length of the relaxation window, mean tick periods; N of a synchronous team


def units_of(run: Run, team: str) -> Units:
    """The units of a team, "actor" or "critic"."""
    group = run[f"teams/{team}/units"]
    spec = run.spec
    window = timing_of(spec, team).window
    periods = float(getattr(spec, team).N if window is None else window)
    return Units(group["layer"][...].astype(np.int64), periods)


def map_prop_of(run: Run, team: str) -> Spec:
    """The settings of a run whose team, "actor" or "critic", learns by MAP propagation.

    Raises
    ------
    InputError : it learns by another rule; or the run is one of batches.
    """
    spec = run.spec
    rule = getattr(spec, team).rule
    if rule != "map_prop":
        raise InputError(
            f"{run.path}: {team}.rule = {rule!r}: this analysis is of MAP propagation; name a run "
            f"whose {team} learns by it, such as one of the model cartpole."
        )
    return spec


def window_of(run: Run, number: int) -> Window:
    """A window of a run by its number, from 0.

    Raises
    ------
    InputError : there is none.
    """
    count = len(run.windows)
    if not count:
        raise InputError(
            f"{run.path} has no windows. Record the run again with some, such as "
            '--record "episodes=1 steps=0:5".'
        )
    if not 0 <= number < count:
        episodes = ", ".join(f"{w.number} (episode {w.episode})" for w in run.windows)
        raise InputError(f"window = {number}: {run.path} has {episodes}; give one of these.")
    return run.windows[number]
