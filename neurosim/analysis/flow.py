"""What went from unit to unit in one step of the environment, counted in a window's events."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurosim.analysis.activity import of_clock
from neurosim.analysis.causality import CODES, step_rows
from neurosim.analysis.windows import Units
from neurosim.memory import Integers
from neurosim.record.reader import Window
from neurosim.spec import TEAMS

# By direction, values up and errors down: what a unit does when it sends one, and its arrival.
SENDS = (("sample", "value_tick"), ("arm", "error_tick"))
ARRIVES = ("deliver_value", "deliver_error")


class Flow(NamedTuple):
    """One team in one step.  Direction 0 is up, of values; 1 is down, of error packets."""

    observed: int  # components of the observation
    sent: Integers  # (2, units) packets that each unit has sent, lost ones included
    arrived: Integers  # (2, m, m) of those, by sender and receiver; m units that were chosen
    ticks: Integers  # (units,) of each unit's clock; an outcome's are those of its softmax agent
    reached: Integers  # (units,) times that the td_error has reached a unit; an agent's first one
    td_error: float  # nan if it has reached nobody
    gates: int  # broadcasts of the gate 1 / (A - mu) to the team


def spread(units: Units, most: int = 4) -> Integers:
    """A few units of each layer, evenly spread: numbers from the first hidden unit, ascending."""
    found = []
    for layer in range(1, units.layer[-1] + 1):
        mine = np.flatnonzero(units.layer == layer)
        found.append(mine[np.unique(np.linspace(0, mine.size - 1, most).round().astype(int))])
    return np.concatenate(found)


def flow(window: Window, step: int, team: str, units: Units, chosen: Integers) -> Flow:
    """Count the packets, ticks and broadcasts of a team in one step.

    A packet is one row that sent it, whatever the number of its receivers; it has arrived at a
    unit where a delivery names that unit, or all units of its layer.

    Parameters
    ----------
    window : of an asynchronous run.
    step : of the window, from 0.
    team : "actor" or "critic".
    units : the team's, see `windows.units_of`.
    chosen (m,) : units between which arrivals are counted one by one.

    Raises
    ------
    InputError : no such step.
    """
    rows = slice(*step_rows(window, step))
    mine = window.events["team"][rows] == TEAMS.index(team)
    kind, unit, value, source, cause = (
        window.events[name][rows][mine] for name in ("kind", "unit", "value", "source", "cause")
    )

    def by_unit(which: NDArray[np.bool_]) -> Integers:
        return np.bincount(unit[which], minlength=units.layer.size)

    def of_kind(*names: str) -> NDArray[np.bool_]:
        return np.isin(kind, [CODES[name] for name in names])

    arrived = np.zeros((2, chosen.size, chosen.size), np.int64)
    for direction, side in enumerate((+1, -1)):
        there = of_kind(ARRIVES[direction])
        sender, receiver = source[there], unit[there]
        for i, j in np.ndindex(chosen.size, chosen.size):
            if units.layer[chosen[j]] == units.layer[chosen[i]] + side:
                reaches = (receiver == -1) | (receiver == chosen[j])
                arrived[direction, i, j] = np.sum(reaches & (sender == chosen[i]))
    broadcasts = of_kind("broadcast")
    return Flow(
        observed=int(np.sum(of_kind("observe"))),
        sent=np.stack([by_unit(of_kind(*names) & (cause == 0)) for names in SENDS]),
        arrived=arrived,
        ticks=by_unit(of_clock(units, kind, unit)),
        reached=by_unit(broadcasts),
        td_error=float(value[broadcasts][0]) if broadcasts.any() else np.nan,
        gates=int(np.sum(of_kind("gate"))),
    )
