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
def begin_step(team, wires):
    """A new pass: no packet has been sent."""
    team.count[PASSES] += 1
    wires.sent[:] = 0
    wires.wired[:] = 0
    wires.newest[:] = -1
    wires.taken[:] = 0


@part
def post(team, wiring, key, wires, row):
    """A row sends a packet."""
    d, s = direction(wires.kind[row]), wires.unit[row] + team.size[0]
    out = d * team.h.size + s
    number = wires.number[row] = wires.sent[out]
    wires.sent[out] += 1
    wires.place[row] = wires.wired[out]
    if lost_as_a_whole(team, wiring, key, d, s, number):
        wires.place[row] = -1
    else:
        wires.wired[out] += 1


@part
def say(wires, row, kind, time, unit, source):
    """What a row about a packet must say."""
    origin = wires.origin[row]
    wires.known[row] = 1
    wires.fates[origin] += 1
    wires.right_kind[row] = kind
    wires.right_time[row] = time
    wires.right_unit[row] = unit
    wires.right_source[row] = source


@part
def reach_all(team, wiring, key, wires, row, d, s):
    """A packet lands in the slot that all its receivers share; an overtaken one does not."""
    origin = wires.origin[row]
    if wires.fates[origin] > 0:
        return
    out, number = d * team.h.size + s, wires.number[origin]
    kind = DELIVER + d
    if wiring.newest and number < wires.newest[out]:
        kind = DISCARD + d
    else:
        wires.newest[out] = number
    time = wires.time[origin] + journey(team, wiring, key, d, s, number)
    say(wires, row, kind, time, NOBODY, wires.unit[origin])


@part
def reach_one(team, wiring, key, wires, row, d, s):
    """A packet reaches one of its receivers, behind those sent before it, or is lost there."""
    origin, u = wires.origin[row], wires.unit[row] + team.size[0]
    layer = wiring.layer[s] + 1 - 2 * d
    i = u - team.unit[layer]
    if i < 0 or i >= team.size[layer]:
        return
    synapse = first_synapse(team, d, u, layer) + s - team.unit[wiring.layer[s]]
    if wires.taken[synapse] != wires.place[origin]:
        return
    wires.taken[synapse] += 1
    number = wires.number[origin]
    kind = LOSE if lost_on_synapse(team, wiring, key, d, s, number, i) else DELIVER
    time = wires.time[origin] + journey(team, wiring, key, d, s, number)
    time += wiring.synapse_delay[synapse]
    say(wires, row, kind + d, time, wires.unit[row], wires.unit[origin])


@part
def meet(team, wiring, key, wires, row, first):
    """A row tells of a packet: which, and what must have become of it."""
    origin, d = wires.origin[row], (wires.kind[row] - DELIVER) % 2
    if origin < first or origin >= row or wires.sends[origin] == 0:
        return
    if direction(wires.kind[origin]) != d:
        return
    s = wires.unit[origin] + team.size[0]
    wires.right_value[row] = rounded(wires.value[origin], wiring.quantum)
    if wires.place[origin] < 0:
        if wires.fates[origin] == 0:
            unit = wires.unit[origin]
            say(wires, row, LOSE + d, wires.time[origin], unit, NOBODY)
    elif wiring.per_synapse:
        reach_one(team, wiring, key, wires, row, d, s)
    else:
        reach_all(team, wiring, key, wires, row, d, s)


@part
def finish(team, wiring, wires, row):
    """How many rows are missing about a packet."""
    layer = wiring.layer[wires.unit[row] + team.size[0]]
    receivers = 1
    if wiring.per_synapse and wires.place[row] >= 0:
        receivers = team.size[layer + 1 - 2 * direction(wires.kind[row])]
    wires.lacking[row] = receivers - wires.fates[row]


@kernel
def carry(team, wiring, key, wires):
    """All steps of a window.  team: with the passes made before it, counted on here."""
    for s in range(wires.first.size - 1):
        begin_step(team, wires)
        first, last = wires.first[s], wires.first[s + 1]
        for row in range(first, last):
            if wires.sends[row]:
                post(team, wiring, key, wires, row)
            elif DELIVER <= wires.kind[row] < SAMPLE:
                meet(team, wiring, key, wires, row, first)
        for row in range(first, last):
            if wires.sends[row]:
                finish(team, wiring, wires, row)
