"""What must have become of every packet of a log: the wires between units, by themselves.

`carry` goes through the rows of a team and writes down, beside each that tells of a packet, what it
must say: the payload that the sender's row gives, at the time at which its wire delivers it.
"""

from neurosim.jit import kernel, part
from neurosim.kernels.team import PASSES
from neurosim.kernels.traffic import (
    DELIVER,
    DISCARD,
    DOWN,
    LOSE,
    NOBODY,
    SAMPLE,
    UP,
    VALUE_ROW,
    first_synapse,
    journey,
    lost_as_a_whole,
    lost_on_synapse,
    rounded,
)


@part
def direction(kind):
    """Where a row of this kind sends a packet."""
    return UP if kind in (SAMPLE, VALUE_ROW) else DOWN


@part
def begin_step(team, traffic):
    """A new pass: no packet has been sent."""
    team.count[PASSES] += 1
    traffic.sent[:] = 0
    traffic.wired[:] = 0
    traffic.newest[:] = -1
    traffic.taken[:] = 0


@part
def post(team, wiring, key, traffic, row):
    """A row sends a packet."""
    d, s = direction(traffic.kind[row]), traffic.unit[row] + team.size[0]
    out = d * team.h.size + s
    number = traffic.number[row] = traffic.sent[out]
    traffic.sent[out] += 1
    traffic.place[row] = traffic.wired[out]
    if lost_as_a_whole(team, wiring, key, d, s, number):
        traffic.place[row] = -1
    else:
        traffic.wired[out] += 1


@part
def say(traffic, row, kind, time, unit, source):
    """What a row about a packet must say."""
    origin = traffic.origin[row]
    traffic.known[row] = 1
    traffic.fates[origin] += 1
    traffic.right_kind[row] = kind
    traffic.right_time[row] = time
    traffic.right_unit[row] = unit
    traffic.right_source[row] = source


@part
def reach_all(team, wiring, key, traffic, row, d, s):
    """A packet lands in the slot that all its receivers share; an overtaken one does not."""
    origin = traffic.origin[row]
    if traffic.fates[origin] > 0:
        return
    out, number = d * team.h.size + s, traffic.number[origin]
    kind = DELIVER + d
    if wiring.newest and number < traffic.newest[out]:
        kind = DISCARD + d
    else:
        traffic.newest[out] = number
    time = traffic.time[origin] + journey(team, wiring, key, d, s, number)
    say(traffic, row, kind, time, NOBODY, traffic.unit[origin])


@part
def reach_one(team, wiring, key, traffic, row, d, s):
    """A packet reaches one of its receivers, behind those sent before it, or is lost there."""
    origin, u = traffic.origin[row], traffic.unit[row] + team.size[0]
    layer = wiring.layer[s] + 1 - 2 * d
    i = u - team.unit[layer]
    if i < 0 or i >= team.size[layer]:
        return
    synapse = first_synapse(team, d, u, layer) + s - team.unit[wiring.layer[s]]
    if traffic.taken[synapse] != traffic.place[origin]:
        return
    traffic.taken[synapse] += 1
    number = traffic.number[origin]
    kind = LOSE if lost_on_synapse(team, wiring, key, d, s, number, i) else DELIVER
    time = traffic.time[origin] + journey(team, wiring, key, d, s, number)
    time += wiring.synapse_delay[synapse]
    say(traffic, row, kind + d, time, traffic.unit[row], traffic.unit[origin])


@part
def meet(team, wiring, key, traffic, row, first):
    """A row tells of a packet: which, and what must have become of it."""
    origin, d = traffic.origin[row], (traffic.kind[row] - DELIVER) % 2
    if origin < first or origin >= row or traffic.sends[origin] == 0:
        return
    if direction(traffic.kind[origin]) != d:
        return
    s = traffic.unit[origin] + team.size[0]
    traffic.right_value[row] = rounded(traffic.value[origin], wiring.quantum)
    if traffic.place[origin] < 0:
        if traffic.fates[origin] == 0:
            unit = traffic.unit[origin]
            say(traffic, row, LOSE + d, traffic.time[origin], unit, NOBODY)
    elif wiring.per_synapse:
        reach_one(team, wiring, key, traffic, row, d, s)
    else:
        reach_all(team, wiring, key, traffic, row, d, s)


@part
def finish(team, wiring, traffic, row):
    """How many rows are missing about a packet."""
    layer = wiring.layer[traffic.unit[row] + team.size[0]]
    receivers = 1
    if wiring.per_synapse and traffic.place[row] >= 0:
        receivers = team.size[layer + 1 - 2 * direction(traffic.kind[row])]
    traffic.lacking[row] = receivers - traffic.fates[row]


@kernel
def carry(team, wiring, key, traffic):
    """All steps of a window.  team: with the passes made before it, counted on here."""
    for s in range(traffic.first.size - 1):
        begin_step(team, traffic)
        first, last = traffic.first[s], traffic.first[s + 1]
        for row in range(first, last):
            if traffic.sends[row]:
                post(team, wiring, key, traffic, row)
            elif DELIVER <= traffic.kind[row] < SAMPLE:
                meet(team, wiring, key, traffic, row, first)
        for row in range(first, last):
            if traffic.sends[row]:
                finish(team, wiring, traffic, row)
