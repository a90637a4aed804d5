"""When the units tick: all events of a relaxation window, in their total order.

Clocks do not depend on what the units compute, so the window's ticks are known before it begins:
they are written down unit by unit and sorted once for each layer, which is quicker than a queue
with an entry for each clock.  An event is one integer: time << bits | kind * units + unit, with the
time from the window's beginning.
"""

import numpy as np

from neurosim.jit import part
from neurosim.kernels.elementary import log
from neurosim.kernels.rng import CLOCK, uniform
from neurosim.kernels.team import PASSES

BROADCAST, ERROR_TICK, VALUE_TICK = range(3)  # kinds, in the order of events at one time
TICKS = 1 << 20  # units of time to a mean period
DIGIT = 11  # bits sorted at a time
NOW, BEGIN, CLOSE, PACKETS = range(4)  # entries of Mail.clock


@part
def bits_for(units):
    """Bits of an event that hold its kind and unit."""
    bits = 1
    while (1 << bits) < 3 * units:
        bits += 1
    return bits


@part
def poisson_intervals(key, event, unit, where, interval, out):
    """Intervals event, event + 1, ... of a Poisson clock into out."""
    for k in range(out.size):
        out[k] = -log(uniform(key, event + k, unit, where)) * interval


@part
def jittered(key, event, unit, where, time, jitter, period):
    """A periodic tick moved within +- jitter periods; one before 0 is at 0."""
    u = uniform(key, event, unit, where)
    moved = time + np.int64((2.0 * u - 1.0) * jitter * period)
    return moved if moved > 0 else 0


@part
def tick_times(wiring, u, event, unit, where, key, times, intervals):
    """Times of unit u's ticks in the window into times.  Returns how many there are, those that
    there is no room for included."""
    made, time = 0, 0
    if wiring.interval[u] == np.inf:
        return 0
    while True:
        if wiring.poisson:
            k = made % intervals.size
            if k == 0:
                poisson_intervals(key, event + made, unit, where, wiring.interval[u], intervals)
            time += np.int64(intervals[k])
        else:
            time = wiring.phase[u] + made * wiring.period[u]
        if time > wiring.window:
            return made
        if made < times.size:
            times[made] = time
            if wiring.jitter > 0.0:
                times[made] = jittered(
                    key, event + made, unit, where, time, wiring.jitter, wiring.period[u]
                )
        made += 1


@part
def write_events(team, wiring, mail, key):
    """All events of the window of this pass, unsorted: broadcasts, then for each layer its error
    ticks and its value ticks, unit by unit.  Where these begin goes into mail.segment, how many
    packets each unit may send into mail.start, values first.

    Returns how many events there are at most.  Where that is more than there is room for, they are
    not all written.
    """
    units, inputs, layers = team.h.size, team.size[0], team.size.size
    bits = bits_for(units)
    where = team.where + np.uint64(CLOCK)
    n = 0  # events in mail.ticks
    for u in range(inputs, units):
        if wiring.agent[u]:
            if n < mail.ticks.size:
                mail.ticks[n] = wiring.broadcast_delay[u] << bits | u
            n += 1
    for l in range(1, layers):
        mail.segment[l] = n
        values = 0  # value ticks of the layer in mail.scratch
        for u in range(team.unit[l], team.unit[l] + team.size[l]):
            if not wiring.agent[u]:  # a softmax agent's later outcome reports with its first one
                mail.start[u], mail.start[units + u] = 0, mail.start[units + u - 1]
                continue
            room = mail.scratch[min(values, mail.scratch.size) :]
            event = team.count[PASSES] << 20
            made = tick_times(wiring, u, event, u - inputs, where, key, room, mail.intervals)
            mail.start[u] = made + 1 if l < layers - 1 else 0
            mail.start[units + u] = made + 1 if l > 1 else 0
            if l >= wiring.errors_from:
                for k in range(min(made, room.size)):
                    if n + k < mail.ticks.size:
                        mail.ticks[n + k] = (room[k] + wiring.lag[u]) << bits | (units + u)
                n += made
            if l < layers - 1:
                for k in range(min(made, room.size)):
                    room[k] = room[k] << bits | (2 * units + u)
                values += made
        if n + values <= mail.ticks.size:
            for k in range(values):
                mail.ticks[n + k] = mail.scratch[k]
        n += values
    mail.segment[0], mail.segment[layers] = 0, n
    return n


@part
def sort_events(events, other, digits, bits):
    """Sort events by their time, keeping the order of those of one time (radix sort).

    events, other (n,); the result is in events.  digits (2**DIGIT,) is room to work in.
    """
    n, latest, needed = events.size, 0, 0
    for k in range(n):
        latest = max(latest, events[k] >> bits)
    while latest >> needed:
        needed += 1
    passes = (needed + DIGIT - 1) // DIGIT
    width = (needed + passes - 1) // passes if passes > 0 else 0
    mask = (1 << width) - 1
    for i in range(passes):
        shift = bits + i * width
        for d in range(mask + 1):
            digits[d] = 0
        for k in range(n):
            digits[(events[k] >> shift) & mask] += 1
        first = 0
        for d in range(mask + 1):
            count = digits[d]
            digits[d] = first
            first += count
        for k in range(n):
            d = (events[k] >> shift) & mask
            other[digits[d]] = events[k]
            digits[d] += 1
        for k in range(n):
            events[k] = other[k]


@part
def lay_out(team, wiring, mail):
    """From how many packets each unit may send to where its own, or its layer's, begin."""
    units, layers = team.h.size, team.size.size
    start = 0
    for u in range(2 * units):
        room = mail.start[u] if u % units >= team.size[0] else 0
        mail.start[u] = start
        mail.wired[u] = 0
        start += room
    for l in range(layers):
        values, errors = mail.start[team.unit[l]], mail.start[units + team.unit[l]]
        mail.head[l] = mail.tail[l] = values
        if l > 0:
            mail.head[layers + l - 1] = mail.tail[layers + l - 1] = errors
    mail.head[2 * layers - 1] = mail.tail[2 * layers - 1] = start


@part
def plan(team, wiring, mail, key):
    """Put down all events of the coming pass: broadcasts and the ticks of each layer, in order.

    Returns the room that mail.ticks needs, if it has too little; nothing has changed then.
    """
    n = write_events(team, wiring, mail, key)
    if n > mail.ticks.size:
        return n
    bits = bits_for(team.h.size)
    for l in range(team.size.size):
        first, last = mail.segment[l], mail.segment[l + 1]
        sort_events(mail.ticks[first:last], mail.scratch[: last - first], mail.digits, bits)
        mail.next[l] = first
    lay_out(team, wiring, mail)
    return 0
