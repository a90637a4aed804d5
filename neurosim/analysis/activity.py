"""Activity of units in a window: rasters, and statistics of each unit.

A synchronous window holds one value of each unit for each step, sampled or relaxed.  In an
asynchronous one a unit has a value from the moment it samples; each value tick changes it, and it
holds it until then: means, variances and fractions are over time.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurosim.analysis.windows import Units
from neurosim.errors import InputError
from neurosim.kernels.clock import TICKS
from neurosim.kernels.traffic import KINDS
from neurosim.memory import Floats, Integers
from neurosim.record.reader import Window
from neurosim.spec import TEAMS

NEAR_ZERO = 0.1
EVENTS = 1_000_000  # read at once, unless a step has more
SAMPLE, VALUE_TICK, ERROR_TICK, IDLE_TICK, TRACE = (
    KINDS.index(kind) for kind in ("sample", "value_tick", "error_tick", "idle_tick", "trace")
)


class Raster(NamedTuple):
    """Values of the units of a team over time."""

    values: Floats  # (units, columns); nan before a unit's first value
    edges: Floats  # (columns + 1,) mean tick periods from the window's start; or steps


class Statistics(NamedTuple):
    """Each unit of a team in a window, arrays (units,)."""

    mean: Floats  # of the unit's value
    std: Floats  # of the unit's value, ddof = 0
    near_zero: Floats  # fraction of time with |value| <= the threshold
    rate: Floats  # ticks of its clock, a period of relaxation; nan without relaxation
    idle: Floats  # fraction of its ticks that found it not armed; nan where it never ticked


class Change(NamedTuple):
    """What units held, ordered by unit and then by time: arrays (changes,)."""

    unit: Integers
    value: Floats
    begin: Integers  # units of time, TICKS to a mean tick period
    end: Integers  # the unit's next value, or the trace at the step's end


def raster(window: Window, team: str, units: Units, columns: int = 400) -> Raster:
    """Values of units over the time of an asynchronous window, or the steps of a synchronous one.

    Parameters
    ----------
    window : from a run.
    team : "actor" or "critic".
    units : the team's, see `windows.units_of`.
    columns : of an asynchronous window's raster, equally wide; each shows the value at its middle.

    Raises
    ------
    InputError : the window has no steps, or no column is wanted.
    """
    _check(window)
    if not is_asynchronous(window):
        values: Floats = window.relaxed(team).T
        return Raster(values, np.arange(window.n_steps + 1, dtype=float))
    if columns < 1:
        raise InputError(f"columns = {columns}: a raster has one at least.")
    begin, end = (int(window.events["time"][row]) for row in (0, len(window.events) - 1))
    edges = np.linspace(begin, end, columns + 1)
    values = held_at(window, team, units, (edges[1:] + edges[:-1]) / 2)
    return Raster(values, (edges - begin) / TICKS)


def held_at(window: Window, team: str, units: Units, times: Floats | Integers) -> Floats:
    """Values that units of an asynchronous window hold at some times.

    Parameters
    ----------
    window : from a run.
    team : "actor" or "critic".
    units : the team's, see `windows.units_of`.
    times : (n,) ascending, as `windows/events/time` counts them.

    Returns
    -------
    (units, n); nan where a unit holds none: before its first value of a step, after its trace.
    """
    values = np.full((units.layer.size, times.size), np.nan)
    for change in _changes(window, team):
        for unit in range(units.layer.size):
            mine = slice(*np.searchsorted(change.unit, [unit, unit + 1]))
            last = np.searchsorted(change.begin[mine], times, side="right") - 1
            held = (last >= 0) & (times < change.end[mine][last])
            values[unit, held] = change.value[mine][last[held]]
    return values


def statistics(
    window: Window, team: str, units: Units, near: float = NEAR_ZERO, which: str = "relaxed"
) -> Statistics:
    """Statistics of each unit of a team in a window.

    With w the time for which a unit held a value h (1 for each step of a synchronous window):
    mean = sum(w h) / sum(w), std = sqrt(sum(w (h - mean)**2) / sum(w)).  The clock of a hidden unit
    makes value ticks, armed or idle, that of an output error ticks, of which a softmax agent has
    one row for each outcome; a synchronous unit ticks once a period.

    Parameters
    ----------
    window : from a run.
    team : "actor" or "critic".
    units : the team's, see `windows.units_of`.
    near : largest absolute value that counts as near zero, in the units of h.
    which : "relaxed" or "sampled", of a synchronous window.

    Raises
    ------
    InputError : the window has no steps.
    """
    _check(window)
    size = units.layer.size
    if not is_asynchronous(window):
        values = window.relaxed(team) if which == "relaxed" else window.sampled(team)
        ticks = np.full(size, 1.0 if units.window > 0 else np.nan)
        close = np.mean(np.abs(values) <= near, axis=0)
        idle = np.where(ticks > 0, 0.0, np.nan)
        return Statistics(values.mean(axis=0), values.std(axis=0), close, ticks, idle)
    time, total, square, close = np.zeros((4, size))
    shift = np.full(size, np.nan)  # the first value, so that little cancels in the variance
    for change in _changes(window, team):
        new = np.isnan(shift[change.unit])
        shift[change.unit[new][::-1]] = change.value[new][::-1]
        held = (change.end - change.begin).astype(float)
        moved = change.value - shift[change.unit]
        time += np.bincount(change.unit, held, size)
        total += np.bincount(change.unit, held * moved, size)
        square += np.bincount(change.unit, held * moved**2, size)
        close += np.bincount(change.unit, held * (np.abs(change.value) <= near), size)
    ticks, idle = _ticks(window, team, units)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / time
        std = np.sqrt(np.maximum(square / time - mean**2, 0.0))
        rate = ticks / (window.n_steps * units.window)
        return Statistics(shift + mean, std, close / time, rate, idle / ticks)


def of_clock(units: Units, kind: Integers, unit: Integers) -> NDArray[np.bool_]:
    """Which rows of a team's events are ticks of their units' clocks.

    Of a hidden unit these are its value ticks, armed or idle, of an output its error ticks.

    Parameters
    ----------
    units : of the team.
    kind, unit : (n,) of the rows.
    """
    found: NDArray[np.bool_] = np.isin(kind, (ERROR_TICK, VALUE_TICK, IDLE_TICK))
    output = units.layer[unit[found]] == units.layer[-1]  # of other rows it may be no unit
    found[found] = output == (kind[found] == ERROR_TICK)
    return found


def is_asynchronous(window: Window) -> bool:
    """Whether the window lists events."""
    return "kind" in window.events


def _check(window: Window) -> None:
    if not window.n_steps:
        raise InputError(f"window {window.number} has no finished step; give another one.")


def _ticks(window: Window, team: str, units: Units) -> tuple[Floats, Floats]:
    """Ticks of each unit's clock, and those of them that were idle."""
    size = units.layer.size
    ticks, idle = np.zeros(size), np.zeros(size)
    for rows, _ in blocks(window):
        kind, unit = columns_of(window, team, rows, ("kind", "unit"))
        ticks += np.bincount(unit[of_clock(units, kind, unit)], minlength=size)
        idle += np.bincount(unit[kind == IDLE_TICK], minlength=size)
    return ticks, idle


def _changes(window: Window, team: str) -> Iterator[Change]:
    """What the units held, block by block of steps."""
    for rows, bounds in blocks(window):
        names = ("kind", "unit", "time", "value", "step")
        kind, unit, time, value, step = columns_of(window, team, rows, names, bounds)
        update = (kind == SAMPLE) | (kind == VALUE_TICK) | (kind == TRACE)
        order = np.lexsort((step[update], unit[update]))  # stable: rows stay in order
        kind, unit, time, value = (c[update][order] for c in (kind, unit, time, value))
        held = np.flatnonzero(kind != TRACE)  # a trace ends each step of each unit
        yield Change(unit[held], value[held], time[held], time[held + 1])


def blocks(window: Window) -> Iterator[tuple[slice, Integers]]:
    """Rows of events of some steps, and where each of these begins."""
    first = window.first_event
    step = 0
    while step < window.n_steps:
        stop = int(np.searchsorted(first, first[step] + EVENTS, side="right")) - 1
        stop = min(max(stop, step + 1), window.n_steps)
        yield slice(int(first[step]), int(first[stop])), first[step:stop]
        step = stop


def columns_of(
    window: Window,
    team: str,
    rows: slice,
    names: tuple[str, ...],
    bounds: Integers | None = None,
) -> list[np.ndarray]:
    """Columns of those rows of events that belong to units of a team.

    Parameters
    ----------
    window : asynchronous.
    team : "actor" or "critic".
    rows : of the window's events, as `blocks` gives them.
    names : of columns; "step" numbers the steps of the block from 1.
    bounds : (steps,) rows at which these begin, for "step".
    """
    units = window.events["unit"][rows]
    kinds = window.events["kind"][rows]
    mine = (window.events["team"][rows] == TEAMS.index(team)) & (units >= 0)
    given = {"unit": units, "kind": kinds}
    if bounds is not None:
        numbers = np.arange(rows.start, rows.stop)
        given["step"] = np.searchsorted(bounds, numbers, side="right")
    return [(given[n] if n in given else window.events[n][rows])[mine] for n in names]
