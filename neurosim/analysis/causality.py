"""Which packets led to a tick, from the events of a window."""

from typing import NamedTuple

import numpy as np

from neurosim.analysis.activity import IDLE_TICK, of_clock
from neurosim.analysis.windows import Units
from neurosim.errors import InputError
from neurosim.kernels.clock import TICKS
from neurosim.kernels.traffic import KINDS
from neurosim.memory import Floats, Integers
from neurosim.record.reader import Window
from neurosim.spec import TEAMS

CODES = {kind: code for code, kind in enumerate(KINDS)}
# What a row of each kind took from its unit's mailboxes, and where that came from.
USES = {
    "sample": (("deliver_value", -1),),
    "arm": (("deliver_value", -1),),
    "error_tick": (("deliver_value", -1),),
    "value_tick": (("deliver_value", -1), ("deliver_error", +1)),
}


class Ancestry(NamedTuple):
    """A row of a window's events, and the packets that led to it.

    Rows are rows of `Window.events`.  The graph has no cycles: a cause stands before its effect.
    """

    rows: Integers  # (n,) the row asked for and the rows that sent what led to it, ascending
    depth: Integers  # (n,) packets between each and the row asked for, along the shortest way
    effect: Integers  # (m,) for each packet the row that used it,
    delivery: Integers  # (m,) the row of its arrival,
    cause: Integers  # (m,) and the row that sent it


def tick_row(
    window: Window, step: int, team: str, unit: int, units: Units, number: int = -1
) -> int:
    """Row of a unit's tick: a value tick, of an output unit an error tick.

    Parameters
    ----------
    window : of an asynchronous run.
    step : of the window, from 0.
    team : "actor" or "critic".
    unit : from the first hidden one.
    units : the team's, see `windows.units_of`.
    number : of the tick within the step, from 0; -1 is the last one.

    Raises
    ------
    InputError : no such step, unit or tick.
    """
    start, stop = step_rows(window, step)
    if not 0 <= unit < units.layer.size:
        raise InputError(
            f"unit = {unit}: the {team} has units 0 to {units.layer.size - 1}, counted from the "
            "first hidden one; give one of these."
        )
    events = window.events
    mine = (events["team"][start:stop] == TEAMS.index(team)) & (events["unit"][start:stop] == unit)
    kind = events["kind"][start:stop][mine]
    moved = of_clock(units, kind, np.full(kind.size, unit)) & (kind != IDLE_TICK)
    rows = start + np.flatnonzero(mine)[moved]
    if not rows.size:
        raise InputError(
            f"unit = {unit}: that unit of the {team} never ticks in step {step} of window "
            f"{window.number}; give another unit or step."
        )
    if not -rows.size <= number < rows.size:
        raise InputError(
            f"tick = {number}: unit {unit} of the {team} ticks {rows.size} times in step {step} of "
            f"window {window.number}; give 0 to {rows.size - 1}, or another unit."
        )
    return int(rows[number])


def ancestry(window: Window, row: int, units: Units, depth: int = 1) -> Ancestry:
    """Find the packets that led to a row, and to the rows that sent them.

    A unit computes from its mailboxes.  So the packets that led to a row of unit u are the last
    ones delivered to u before it, from each unit of the layer below (values) and, for a value tick,
    from each unit of the layer above (errors).  `cause` of a delivery names the row that sent it,
    to which the same applies.  What a slot still holds from an earlier step of the environment has
    no row in this one and is left out, as are observations and broadcasts.

    Parameters
    ----------
    window : of an asynchronous run.
    row : of `window.events`, of kind sample, arm, error_tick or value_tick.
    units : of the row's team, see `windows.units_of`.
    depth : packets to follow back in a chain, 0 or more.

    Raises
    ------
    InputError : no such row, one that used no packets, or a negative depth.
    """
    if not 0 <= row < len(window.events):
        raise InputError(f"row = {row}: window {window.number} has {len(window.events)} events.")
    if depth < 0:
        raise InputError(f"depth = {depth}: give the number of packets to follow back, 0 or more.")
    step = int(np.searchsorted(window.first_event, row, side="right")) - 1
    start = int(window.first_event[step])
    columns = {
        name: window.events[name][start : row + 1]
        for name in ("team", "unit", "kind", "source", "cause")
    }
    kinds = columns["kind"]
    if KINDS[kinds[-1]] not in USES:
        raise InputError(
            f"row = {row}: a row of kind {KINDS[kinds[-1]]!r} comes of no packets; "
            f"give one of kind {', '.join(USES)}."
        )
    mine = columns["team"] == columns["team"][-1]
    arrivals = {
        name: np.flatnonzero(mine & (kinds == CODES[name]))
        for name in ("deliver_value", "deliver_error")
    }
    found = {row - start: 0}
    edges: list[tuple[int, int, int]] = []
    newest = [row - start]
    for distance in range(1, depth + 1):
        effects, newest = newest, []
        for effect in effects:
            for delivery in _last_arrivals(columns, arrivals, units, effect):
                cause = int(delivery - columns["cause"][delivery])
                edges.append((effect, int(delivery), cause))
                if cause not in found:
                    found[cause] = distance
                    newest.append(cause)
    rows = np.array(sorted(found), np.int64)
    depths = np.array([found[int(r)] for r in rows], np.int64)
    effect_of, delivered, caused = np.array(edges, np.int64).reshape(-1, 3).T + start
    return Ancestry(rows + start, depths, effect_of, delivered, caused)


class Places(NamedTuple):
    """Where the packets of a graph (m,) were, and its rows (n,): times and units."""

    sent: Floats  # (m,) times are in mean tick periods from the step's observation
    arrived: Floats  # (m,)
    used: Floats  # (m,)
    sender: Integers  # (m,) units of the team
    receiver: Integers  # (m,)
    hop: Integers  # (m,) packets from its sending to the row asked for, along the shortest way
    time: Floats  # (n,) of `rows`
    unit: Integers  # (n,) of `rows`


def places(window: Window, graph: Ancestry) -> Places:
    """Times and units of an ancestry."""
    events = window.events
    step = np.searchsorted(window.first_event, graph.rows[-1], side="right") - 1
    start, stop = int(window.first_event[step]), int(graph.rows[-1]) + 1
    time = (events["time"][start:stop] - events["time"][start]) / TICKS
    unit = events["unit"][start:stop]
    cause, delivery, effect, rows = (
        each - start for each in (graph.cause, graph.delivery, graph.effect, graph.rows)
    )
    hop = 1 + graph.depth[np.searchsorted(rows, effect)]
    return Places(
        sent=time[cause],
        arrived=time[delivery],
        used=time[effect],
        sender=unit[cause],
        receiver=unit[effect],
        hop=hop,
        time=time[rows],
        unit=unit[rows],
    )


class Uses(NamedTuple):
    """Packets and the units that used them (n,), as rows of `Window.events`.

    A packet that several units used is there for each of them, with the unit's first use of it.
    """

    sent: Integers  # the row that sent the packet
    used: Integers  # ascending


def uses(window: Window, step: int, team: str, units: Units) -> Uses:
    """Which packet was used where in a step, by the definition of `ancestry`.

    A packet is used by a row of its receiver, as `USES` lists them, that comes after its arrival
    and before that of the next one from the same sender.

    Parameters
    ----------
    window : of an asynchronous run.
    step : of the window, from 0.
    team : "actor" or "critic".
    units : the team's, see `windows.units_of`.

    Raises
    ------
    InputError : no such step.
    """
    start, stop = step_rows(window, step)
    names = ("team", "kind", "unit", "source", "cause")
    of_team, kind, unit, source, cause = (window.events[name][start:stop] for name in names)
    mine = of_team == TEAMS.index(team)
    never = stop - start
    pairs = [np.zeros((2, 0), np.int64)]
    for name, side in (("deliver_value", +1), ("deliver_error", -1)):
        arrivals = np.flatnonzero(mine & (kind == CODES[name]))
        row, receiver = _receivers(arrivals, unit[arrivals], source[arrivals], side, units)
        order = np.lexsort((row, source[row], receiver))
        row, receiver = row[order], receiver[order]
        again = (receiver[1:] == receiver[:-1]) & (source[row[1:]] == source[row[:-1]])
        replaced = np.append(np.where(again, row[1:], never), never)[: row.size]
        looks = [CODES[k] for k, taken in USES.items() if name in (of for of, _ in taken)]
        looking = np.flatnonzero(mine & np.isin(kind, looks))
        key = np.sort(unit[looking].astype(np.int64) * (never + 1) + looking)
        wanted = receiver * (never + 1) + row
        found = np.append(key, np.iinfo(np.int64).max)[np.searchsorted(key, wanted)]
        used = found - receiver * (never + 1)
        taken = used < replaced
        pairs.append(np.stack([(row - cause[row])[taken], used[taken]]))
    sent, used = np.concatenate(pairs, axis=1)
    order = np.lexsort((sent, used))
    return Uses(sent[order] + start, used[order] + start)


def _receivers(
    arrivals: Integers, unit: Integers, source: Integers, side: int, units: Units
) -> tuple[Integers, Integers]:
    """Each arrival as often as there are units that it reaches, and these units."""
    layers = units.layer[source] + side
    first = np.where(unit == -1, np.searchsorted(units.layer, layers), unit)
    end = np.where(unit == -1, np.searchsorted(units.layer, layers, side="right"), unit + 1)
    count = end - first
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(arrivals, count), np.repeat(first, count) + within


def _last_arrivals(
    columns: dict[str, Integers], arrivals: dict[str, Integers], units: Units, row: int
) -> Integers:
    """Rows of the last deliveries before a row, one from each source that its unit listens to."""
    unit = columns["unit"][row]
    found = []
    for name, side in USES[KINDS[columns["kind"][row]]]:
        before = arrivals[name][: np.searchsorted(arrivals[name], row)]
        source, receiver = columns["source"][before], columns["unit"][before]
        reaches = (receiver == -1) | (receiver == unit)
        heard = before[reaches & (units.layer[source] == units.layer[unit] + side)]
        _, last = np.unique(columns["source"][heard][::-1], return_index=True)
        found.append(np.sort(heard[::-1][last]))
    return np.concatenate(found)


def step_rows(window: Window, step: int) -> tuple[int, int]:
    """Rows of events that a step of a window takes, the first one and the one after the last.

    Raises
    ------
    InputError : no such step.
    """
    if not 0 <= step < window.n_steps:
        raise InputError(
            f"step = {step}: window {window.number} holds steps 0 to {window.n_steps - 1} of its "
            "own; give one of these."
        )
    return int(window.first_event[step]), int(window.first_event[step + 1])
