"""From the log of a window to what a single unit may read of it."""

from typing import Any, NamedTuple

import numpy as np

from neurosim.kernels.traffic import (
    ARM,
    DELIVER,
    DOWN,
    ERROR_ROW,
    GATE,
    NOBODY,
    OBSERVE,
    SAMPLE,
    TRACE,
    UP,
    VALUE_ROW,
)
from neurosim.memory import Floats, Inbox, Integers, Team, Wires, Wiring
from neurosim.record import Window

_UPWARD, _DOWNWARD = (SAMPLE, VALUE_ROW), (ARM, ERROR_ROW)  # kinds of rows that send


class TeamLog(NamedTuple):
    """Rows of a window, columns as in /windows/events."""

    row: Integers  # (R,) its row of the window's events
    step: Integers  # (R,)
    first: Integers  # (S+1,) rows at which each step begins, and their end
    time: Integers
    unit: Integers
    kind: Integers
    source: Integers
    cause: Integers
    value: Floats

    def only(self, chosen: Any) -> "TeamLog":
        """Some of the rows."""
        step = self.step[chosen]
        first = np.searchsorted(step, np.arange(self.first.size))
        columns = (self.time, self.unit, self.kind, self.source, self.cause, self.value)
        return TeamLog(self.row[chosen], step, first, *(column[chosen] for column in columns))


def read_log(window: Window) -> TeamLog:
    """All rows of a window, of both teams."""
    first = np.asarray(window.first_event, np.int64)
    rows = np.arange(len(window.events["time"]))

    def column(name: str) -> Integers:
        found: Integers = np.asarray(window.events[name][:]).astype(np.int64)
        return found

    return TeamLog(
        row=rows,
        step=np.searchsorted(first, rows, side="right") - 1,
        first=first,
        time=column("time"),
        unit=column("unit"),
        kind=column("kind"),
        source=column("source"),
        cause=column("cause"),
        value=np.asarray(window.events["value"][:]),
    )


def exists(log: TeamLog, team: Team) -> Any:
    """Which rows are of a kind and of a unit that there are: (R,) bool."""
    inputs = int(team.size[0])
    about_packets = (log.kind >= DELIVER) & (log.kind < SAMPLE)
    least = np.where(about_packets, NOBODY, 0)
    end = np.where(log.kind == OBSERVE, inputs, team.h.size - inputs)
    return (log.kind <= TRACE) & (log.unit >= least) & (log.unit < end)


def inbox_of(log: TeamLog, team: Team, layer: int, first: int, last: int) -> tuple[Inbox, TeamLog]:
    """What the agent of units first ... last - 1 may read, and its rows of the log."""
    inputs, top = int(team.size[0]), team.size.size - 1
    unit = team.unit - inputs  # first unit of each layer, as the log counts

    def sent_by(l: int) -> Any:
        return (log.source >= unit[l]) & (log.source < unit[l] + team.size[l])

    own = (log.kind >= SAMPLE) & (log.unit >= first) & (log.unit < last)
    to_it = (log.unit == NOBODY) | ((log.unit >= first) & (log.unit < last))
    reads = own | ((log.kind == GATE) & (log.unit == team.h.size - inputs - 1))
    if layer == 1:
        reads |= log.kind == OBSERVE
    else:
        reads |= (log.kind == DELIVER + UP) & to_it & sent_by(layer - 1)
    if layer < top:
        reads |= (log.kind == DELIVER + DOWN) & to_it & sent_by(layer + 1)
    chosen = np.flatnonzero(reads)
    rows, own = log.only(chosen), own[chosen]
    observes, errors = rows.kind == OBSERVE, rows.kind == DELIVER + DOWN
    below, above = unit[layer - 1], unit[min(layer + 1, top)]
    source = np.where(observes, rows.unit, rows.source - np.where(errors, above, below))
    to_all = observes | (rows.unit == NOBODY)
    inbox = Inbox(
        rows.first,
        rows.time,
        rows.kind,
        np.where(to_all, NOBODY, rows.unit - first),
        source,
        own.astype(np.int64),
        np.where(own, np.nan, rows.value),
    )
    return inbox, rows.only(own)


def wires_of(log: TeamLog, team: Team, wiring: Wiring) -> Wires:
    """The rows of a team that send packets or tell of them, for the wires."""
    # components of observations and receivers that are all of a layer have no layer of their own
    layer = wiring.layer[np.where(log.kind < SAMPLE, 0, log.unit) + team.size[0]]
    upward = np.isin(log.kind, _UPWARD) & (layer < team.size.size - 1)
    downward = np.isin(log.kind, _DOWNWARD) & (layer > 1)
    place = np.full(int(log.row.max(initial=0)) + 1, -1)  # by row of the window's events
    place[log.row] = np.arange(log.row.size)
    sender = log.row - log.cause
    tells = (log.cause > 0) & (sender >= 0)
    lengths = dict.fromkeys(Wires._fields, log.row.size)
    lengths |= dict.fromkeys(("sent", "wired", "newest"), 2 * team.h.size)
    lengths["taken"] = wiring.synapse_delay.size
    room = Wires._make(np.zeros(length, np.int64) for length in lengths.values())
    return room._replace(
        first=log.first,
        time=log.time,
        kind=log.kind,
        unit=log.unit,
        source=log.source,
        sends=((upward | downward) & (log.cause == 0)).astype(np.int64),
        origin=np.where(tells, place[np.where(tells, sender, 0)], -1),
        value=log.value,
        right_value=np.zeros(log.row.size),
    )


def starts(log: TeamLog, team: Integers, outputs: list[int]) -> Integers:
    """T of each step: when the outputs of both teams had sampled.

    team (R,): of each row.  outputs: the first unit of each team's output.
    """
    begin = np.zeros(log.first.size - 1, np.int64)
    of_output = (log.kind == SAMPLE) & (log.unit >= np.array(outputs)[np.clip(team, 0, 1)])
    np.maximum.at(begin, log.step[of_output], log.time[of_output])
    return begin
