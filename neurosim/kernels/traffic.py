"""Packets on their way: sending, losing, delivering, and counting all of it.

Direction 0 is up (values), 1 is down (error packets).  A packet is on its sender's wire from the
moment it is sent; a receiver takes from the wire what has arrived when it next looks into its
mailbox.  Nobody else looks, so that is the same as an event for each arrival, and cheaper.

Usually all receivers of a unit share one slot for it (a *lane* holds a layer's packets in the order
of their arrival).  Where delays or losses are per synapse, each synapse has a slot of its own and
keeps count of what it has taken from its sender's wire.
"""

import numpy as np

from neurosim.jit import part
from neurosim.kernels.clock import CLOSE, PACKETS
from neurosim.kernels.rng import (
    ERROR_DELAY,
    ERROR_LOSS,
    VALUE_DELAY,
    VALUE_LOSS,
    uniform,
)
from neurosim.kernels.team import PASSES

UP, DOWN = range(2)
SENT, DELIVERED, LOST, DISCARDED, IN_FLIGHT = range(5)  # blocks of 2(L+1) lanes in Mail.counts
BINS = 32  # of the staleness, a quarter of a period each; the last one is open
BIN_BITS = 18
# after the lanes' counts in Mail.counts:
MOVES, REPORTS, IDLE, FORWARD, FEEDBACK, LEARNING, STALENESS = range(7)  # 2 BINS of staleness
OTHER_COUNTS = STALENESS + 2 * BINS

# kinds of rows in a log
KINDS = (
    "observe",
    "deliver_value",
    "deliver_error",
    "discard_value",
    "discard_error",
    "lost_value",
    "lost_error",
    "sample",
    "broadcast",
    "arm",
    "error_tick",
    "value_tick",
    "idle_tick",
    "gate",
    "trace",
)
OBSERVE, DELIVER, DISCARD, LOSE, SAMPLE = 0, 1, 3, 5, 7  # + d: the value's, the error's
BROADCAST_ROW, ARM, ERROR_ROW, VALUE_ROW, IDLE_ROW, GATE, TRACE = range(8, 15)
NOBODY = -1  # no unit, source or packet


@part
def emit(log, time, kind, unit, value, source, packet, rank):
    """Add a row to the log, if there is one.

    rank: 0 to 3, in the order of rows of one time, wherever they are written: an arrival (0) is
    noticed only when its receiver looks into its mailbox.
    """
    if log.time.size > 0:
        row = log.count[0]
        log.time[row] = time
        log.order[row] = 4 * time + rank
        log.kind[row] = kind
        log.unit[row] = unit
        log.value[row] = value
        log.source[row] = source
        log.packet[row] = packet
        log.count[0] = row + 1


@part
def link(log, row, packet):
    """Name the packet that a row's event has sent."""
    if log.time.size > 0:
        log.packet[row] = packet


@part
def count(mail, layers, what, lane, n):
    """Add n to one of a lane's counts."""
    mail.counts[what * 2 * layers + lane] += n


@part
def tally(mail, layers, what, n):
    """Add n to one of the other counts."""
    mail.counts[10 * layers + what] += n


@part
def rounded(x, quantum):
    """x to as many significant bits as quantum says (Veltkamp's splitting)."""
    if quantum == 0.0:
        return x
    p = x * quantum
    return p - (p - x)


@part
def lane_of(layers, d, layer):
    """Lane of what a layer sends in a direction."""
    return layer if d == UP else layers + layer - 1


@part
def lost_as_a_whole(team, wiring, key, d, s, number):
    """Whether packet `number` of sender s reaches nobody."""
    out = d * team.h.size + s
    if wiring.loss_per_synapse or wiring.loss[out] == 0.0:
        return False
    if d == UP and number == 0 and wiring.timer < 0:
        return False
    where = team.where + np.uint64(VALUE_LOSS if d == UP else ERROR_LOSS)
    event = (team.count[PASSES] - 1) << 20 | number
    return uniform(key, event, s - team.size[0], where) < wiring.loss[out]


@part
def journey(team, wiring, key, d, s, number):
    """How long packet `number` of sender s takes, but for what a synapse adds."""
    delay = wiring.delay[d * team.h.size + s]
    if wiring.packet_delay == 0:
        return delay
    where = team.where + np.uint64(VALUE_DELAY if d == UP else ERROR_DELAY)
    event = (team.count[PASSES] - 1) << 20 | number
    return delay + np.int64(uniform(key, event, s - team.size[0], where) * wiring.packet_delay)


@part
def send(team, wiring, mail, log, key, d, s, payload, time, rank):
    """Unit s hands a packet to its wire, unless it has hardly changed.  Returns its id, or NOBODY.

    The first packet of a pass is always sent; in dataflow sampling the first value is never lost.
    """
    units, layers = team.h.size, team.size.size
    out = d * units + s
    number = mail.sent[out]
    if number > 0 and np.abs(payload - mail.last[out]) < wiring.least_change[out]:
        return NOBODY
    payload = rounded(payload, wiring.quantum)
    layer = wiring.layer[s]
    lane = lane_of(layers, d, layer)
    receivers = team.size[layer + 1 - 2 * d] if wiring.per_synapse else 1
    packet = mail.clock[PACKETS]
    mail.sent[out] = number + 1
    mail.clock[PACKETS] = packet + 1
    mail.last[out] = payload
    count(mail, layers, SENT, lane, receivers)
    if lost_as_a_whole(team, wiring, key, d, s, number):
        count(mail, layers, LOST, lane, receivers)
        emit(log, time, LOSE + d, s - team.size[0], payload, NOBODY, packet, rank)
        return packet
    arrival = time + journey(team, wiring, key, d, s, number)
    if wiring.per_synapse:
        place = mail.start[out] + mail.wired[out]
        mail.wired[out] += 1
    else:
        place = mail.tail[lane]
        mail.tail[lane] = place + 1
    put = mail.packets[4 * place : 4 * place + 4]
    put[0] = arrival
    put[1] = time
    put[2] = s << 20 | number
    put[3] = packet
    mail.payloads[place] = payload
    if not wiring.in_order:
        base = mail.start[d * units + team.unit[layer]]
        push(mail, mail.queue[base:], mail.tail[lane] - mail.head[lane] - 1, place)
    return packet


@part
def later(mail, a, b):
    """Whether packet a arrives after packet b; of two that arrive at once the later sent."""
    x, y = mail.packets[4 * a], mail.packets[4 * b]
    return x > y or (x == y and a > b)


@part
def push(mail, queue, n, place):
    """Add a packet to the heap of the n that are on their way in a lane."""
    while n > 0:
        parent = (n - 1) >> 1
        if not later(mail, queue[parent], place):
            break
        queue[n] = queue[parent]
        n = parent
    queue[n] = place


@part
def pop(mail, queue, n):
    """Take the first of n packets off a heap."""
    place = queue[n - 1]
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= n - 1:
            break
        if child + 1 < n - 1 and later(mail, queue[child], queue[child + 1]):
            child += 1
        if not later(mail, place, queue[child]):
            break
        queue[hole] = queue[child]
        hole = child
    queue[hole] = place


@part
def deliver(team, wiring, mail, log, d, lane, place):
    """A packet overwrites its sender's slot, which all receivers share."""
    units, layers = team.h.size, team.size.size
    put = mail.packets[4 * place : 4 * place + 4]
    arrival, time, packet = put[0], put[1], put[3]
    s, number = put[2] >> 20, put[2] & 0xFFFFF
    source = d * units + s
    late = arrival > mail.clock[CLOSE]
    if wiring.newest and number < mail.heard_number[source]:
        count(mail, layers, IN_FLIGHT if late else DISCARDED, lane, 1)
        kind = DISCARD + d
    else:
        count(mail, layers, IN_FLIGHT if late else DELIVERED, lane, 1)
        kind = DELIVER + d
        if mail.heard_number[source] < 0:
            mail.fresh[lane] += 1
        mail.sent_sum[lane] += time - mail.heard_time[source]
        mail.heard_time[source] = time
        mail.heard_number[source] = number
        mail.heard[source] = mail.payloads[place]
        if d == UP:
            mail.version[lane] += 1
    source = s - team.size[0]
    rank = 0 if arrival > time else 1
    emit(log, arrival, kind, NOBODY, mail.payloads[place], source, packet, rank)


@part
def collect_lane(team, wiring, mail, log, d, layer, now):
    """Deliver what a layer has sent in a direction and has arrived by now."""
    lane = lane_of(team.size.size, d, layer)
    head, tail = mail.head[lane], mail.tail[lane]
    if wiring.in_order:
        while head < tail and mail.packets[4 * head] <= now:
            deliver(team, wiring, mail, log, d, lane, head)
            head += 1
    else:
        queue = mail.queue[mail.start[d * team.h.size + team.unit[layer]] :]
        while head < tail and mail.packets[4 * queue[0]] <= now:
            first = queue[0]
            pop(mail, queue, tail - head)
            deliver(team, wiring, mail, log, d, lane, first)
            head += 1
    mail.head[lane] = head


@part
def first_synapse(team, d, u, layer):
    """Where the slots of receiver u begin, in the order of w or, after all of them, of wt."""
    i = u - team.unit[layer]
    if d == UP:
        return team.param[layer] + i * team.size[layer - 1]
    return team.w.size + team.param[layer + 1] + i * team.size[layer + 1]


@part
def lost_on_synapse(team, wiring, key, d, s, number, i):
    """Whether packet `number` of sender s does not reach the receiver with index i."""
    out = d * team.h.size + s
    if not wiring.loss_per_synapse or wiring.loss[out] == 0.0:
        return False
    if d == UP and number == 0 and wiring.timer < 0:
        return False
    where = team.where + np.uint64(VALUE_LOSS if d == UP else ERROR_LOSS)
    where += np.uint64(1024 * (i + 1))
    event = (team.count[PASSES] - 1) << 20 | number
    return uniform(key, event, s - team.size[0], where) < wiring.loss[out]


@part
def collect_synapses(team, wiring, mail, log, key, d, u, layer, now):
    """Receiver u takes what has arrived by now from the wires of its senders."""
    units, layers, inputs = team.h.size, team.size.size, team.size[0]
    sender = layer - 1 + 2 * d
    n, i = team.size[sender], u - team.unit[layer]
    first, wire = first_synapse(team, d, u, layer), d * units + team.unit[sender]
    start, wired = mail.start[wire : wire + n], mail.wired[wire : wire + n]
    taken, delay = mail.taken[first : first + n], wiring.synapse_delay[first : first + n]
    slot, slot_time = mail.slot[first : first + n], mail.slot_time[first : first + n]
    slot_number = mail.slot_number[first : first + n]
    delivered, late, lost, fresh, sent_sum = 0, 0, 0, 0, 0
    for j in range(n):
        while taken[j] < wired[j]:
            place = start[j] + taken[j]
            arrival = mail.packets[4 * place] + delay[j]
            if arrival > now:
                break
            taken[j] += 1
            number = mail.packets[4 * place + 2] & 0xFFFFF
            s = team.unit[sender] + j
            kind = DELIVER + d
            if lost_on_synapse(team, wiring, key, d, s, number, i):
                lost += 1
                kind = LOSE + d
            else:
                delivered += 1
                late += 1 if arrival > mail.clock[CLOSE] else 0
                fresh += 1 if slot_number[j] < 0 else 0
                time = mail.packets[4 * place + 1]
                sent_sum += time - slot_time[j]
                slot_time[j] = time
                slot_number[j] = number
                slot[j] = mail.payloads[place]
            if log.time.size > 0:
                rank = 0 if arrival > mail.packets[4 * place + 1] else 1
                packet = mail.packets[4 * place + 3]
                emit(log, arrival, kind, u - inputs, mail.payloads[place], s - inputs, packet, rank)
    if delivered + lost > 0:
        lane = lane_of(layers, d, sender)
        count(mail, layers, DELIVERED, lane, delivered - late)
        count(mail, layers, IN_FLIGHT, lane, late)
        count(mail, layers, LOST, lane, lost)
        mail.slot_sum[d * units + u] += sent_sum
        mail.slot_fresh[d * units + u] += fresh


@part
def collect(team, wiring, mail, log, key, d, u, layer, now):
    """Unit u looks into its mailbox for what came from below (d = UP) or above (d = DOWN)."""
    sender = layer - 1 + 2 * d
    if sender == 0:
        return
    if wiring.per_synapse:
        collect_synapses(team, wiring, mail, log, key, d, u, layer, now)
    else:
        collect_lane(team, wiring, mail, log, d, sender, now)


@part
def mailbox(team, wiring, mail, d, u, layer):
    """What unit u holds from below or above, and whether all of it is of this pass."""
    units, sender = team.h.size, layer - 1 + 2 * d
    n = team.size[sender]
    if wiring.per_synapse and sender > 0:
        first = first_synapse(team, d, u, layer)
        return mail.slot[first : first + n], mail.slot_fresh[d * units + u] == n
    first = d * units + team.unit[sender]
    fresh = mail.fresh[lane_of(team.size.size, d, sender)]
    return mail.heard[first : first + n], fresh == n


@part
def note_age(team, wiring, mail, d, u, layer, now):
    """Count the mean age of unit u's mailbox at this use; an observation has none."""
    units, layers = team.h.size, team.size.size
    sender = layer - 1 + 2 * d
    if sender == 0:
        return
    n = team.size[sender]
    if wiring.per_synapse:
        age = n * now - mail.slot_sum[d * units + u]
    else:
        age = n * now - mail.sent_sum[lane_of(layers, d, sender)]
    bin = min(np.int64(age / (n << BIN_BITS)), BINS - 1)
    tally(mail, layers, STALENESS + d * BINS + bin, 1)


@part
def empty(team, mail):
    """Forget, before a pass, the packets of the pass before; slots keep what they hold."""
    units, layers = team.h.size, team.size.size
    for u in range(2 * units):
        mail.sent[u] = 0
        mail.heard_number[u] = -1
        mail.slot_fresh[u] = 0
    for u in range(units):
        mail.moves[u] = 0
        mail.error_ticks[u] = 0
        mail.seen[u] = -1
    for lane in range(2 * layers):
        mail.fresh[lane] = 0
    for k in range(mail.slot.size):
        mail.taken[k] = 0
        mail.slot_number[k] = -1
    for k in range(mail.counts.size):
        mail.counts[k] = 0
