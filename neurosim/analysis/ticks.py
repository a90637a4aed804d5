"""When units ticked in a window, and when its steps began."""

from typing import NamedTuple

import numpy as np

from neurosim.analysis.activity import IDLE_TICK, blocks, columns_of, is_asynchronous, of_clock
from neurosim.analysis.windows import Units
from neurosim.kernels.clock import TICKS
from neurosim.memory import Floats, Integers
from neurosim.record.reader import Window


class Ticks(NamedTuple):
    """Ticks of the units of a team (n,), in the order of time."""

    time: Floats  # mean tick periods from the window's start
    unit: Integers


def ticks(window: Window, team: str, units: Units) -> Ticks:
    """The ticks at which hidden units moved, and at which outputs computed their error packets.

    A softmax agent has a tick for each of its outcomes.  A synchronous window has none.

    Parameters
    ----------
    window : from a run.
    team : "actor" or "critic".
    units : the team's, see `windows.units_of`.
    """
    times, numbers = [np.zeros(0)], [np.zeros(0, np.int64)]
    for rows, _ in blocks(window) if is_asynchronous(window) else ():
        kind, unit, time = columns_of(window, team, rows, ("kind", "unit", "time"))
        mine = of_clock(units, kind, unit) & (kind != IDLE_TICK)
        times.append((time[mine] - window.events["time"][0]) / TICKS)
        numbers.append(unit[mine].astype(np.int64))
    return Ticks(np.concatenate(times), np.concatenate(numbers))


def step_times(window: Window) -> Floats:
    """When each step of a window began (n_steps,), in periods from its start; or in steps."""
    if not is_asynchronous(window):
        return np.arange(window.n_steps, dtype=float)
    begun = np.array([window.events["time"][int(row)] for row in window.first_event[:-1]])
    times: Floats = (begun - begun[0]) / TICKS
    return times
