"""Packets on their way, and what units hold meanwhile, in one step of a window."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurosim.analysis.causality import CODES, step_rows
from neurosim.kernels.clock import TICKS
from neurosim.memory import Floats, Integers
from neurosim.record.reader import Window
from neurosim.spec import TEAMS


class Transits(NamedTuple):
    """The packets of one team that have arrived in one step (n,), in the order of their arrival.

    Times are in mean tick periods from the step's observation.
    """

    sent: Floats
    arrived: Floats
    sender: Integers
    receiver: Integers  # -1: all units of the layer that the packet was for
    up: NDArray[np.bool_]  # a value; else an error packet


class Course(NamedTuple):
    """What units of one team did in one step (n,), in its order."""

    time: Floats  # mean tick periods from the step's observation
    unit: Integers
    value: Floats


def transits(window: Window, step: int, team: str) -> Transits:
    """The packets of a team that have arrived in a step.

    Parameters
    ----------
    window : of an asynchronous run.
    step : of the window, from 0.
    team : "actor" or "critic".

    Raises
    ------
    InputError : no such step.
    """
    events, first = _events(window, step)
    kind = events["kind"]
    there = np.isin(kind, [CODES["deliver_value"], CODES["deliver_error"]])
    rows = np.flatnonzero(there & (events["team"] == TEAMS.index(team)))
    time = (events["time"] - first) / TICKS
    return Transits(
        sent=time[rows - events["cause"][rows]],
        arrived=time[rows],
        sender=events["source"][rows],
        receiver=events["unit"][rows],
        up=kind[rows] == CODES["deliver_value"],
    )


def values(window: Window, step: int, team: str) -> Course:
    """Each value that a unit of a team took on in a step: its sample, then its value ticks.

    Takes and raises what `transits` does.
    """
    return _course(window, step, team, ("sample", "value_tick"))


def broadcasts(window: Window, step: int, team: str) -> Course:
    """Each td_error that has reached a unit of a team in a step.

    Takes and raises what `transits` does.
    """
    return _course(window, step, team, ("broadcast",))


def _course(window: Window, step: int, team: str, kinds: tuple[str, ...]) -> Course:
    events, first = _events(window, step)
    mine = np.isin(events["kind"], [CODES[kind] for kind in kinds])
    mine &= events["team"] == TEAMS.index(team)
    return Course(
        (events["time"][mine] - first) / TICKS, events["unit"][mine], events["value"][mine]
    )


def _events(window: Window, step: int) -> tuple[dict[str, NDArray[Any]], int]:
    """Columns of a step's events, and the time at which it begins."""
    rows = slice(*step_rows(window, step))
    names = ("time", "team", "kind", "unit", "value", "source", "cause")
    columns = {name: window.events[name][rows] for name in names}
    return columns, int(columns["time"][0])
