"""One agent by itself, from its own state and the rows of a log that reach it (docs/audit.md).

`replay` goes through these rows in their order.  Those of others go into the agent's mailboxes.  Of
its own it reads when and of what kind they are, and writes down beside each what the agent did; the
agent acts when its own clock says so, whether or not the log has a row for it.
"""

import numpy as np

from neurosim.jit import kernel, part
from neurosim.kernels import unit
from neurosim.kernels.activation import SOFTMAX
from neurosim.kernels.clock import tick_times
from neurosim.kernels.density import gate, packets_softmax, sample_softmax, softmax
from neurosim.kernels.engine import KOLEN_POLLACK, NEVER, SYMMETRIC
from neurosim.kernels.learning import annealed
from neurosim.kernels.rng import BROADCAST, CLOCK, normal, uniform
from neurosim.kernels.traffic import (
    ARM,
    BROADCAST_ROW,
    DELIVER,
    DOWN,
    ERROR_ROW,
    GATE,
    IDLE_ROW,
    NOBODY,
    SAMPLE,
    TRACE,
    UP,
    VALUE_ROW,
    rounded,
)

# entries of Agent.count, all of this pass but the last
TICKS, SAMPLED, TOLD, ERROR_TICKS, VALUE_TICKS, MOVES, TRACED = range(7)  # ticks to come, made
HEARD, HEARD_ABOVE, HEARD_AT = range(7, 10)  # values and errors heard; when the last was
TOLD_AT, ROWS, NEXT_ROW, TIME = range(10, 14)  # when it learned; of the latest event
CHANGE, COUNTS = range(14, 16)  # weights above that feedback weights have followed


@part
def begin_pass(agent, wiring, given, s):
    """Forget, before a pass, what is of the pass before; mailboxes keep what they hold."""
    for k in range(CHANGE):
        agent.count[k] = 0
    agent.heard[:, :] = 0
    agent.heard_above[:] = 0
    agent.sent[:, :] = 0
    agent.gate[0] = np.nan if agent.gated else 1.0
    agent.count[HEARD_AT] = agent.count[TOLD_AT] = NEVER
    agent.count[TIME] = given.now[s]
    if given.clears[s]:
        agent.z[:, :] = 0.0
        agent.zt[:] = 0.0
    key, passes, where = given.key, given.passes + s, agent.where + np.uint64(CLOCK)
    agent.count[TICKS] = tick_times(
        wiring, 0, passes << 20, agent.unit, where, key, agent.times, agent.intervals
    )
    if wiring.broadcast_loss[0] > 0.0:
        where = agent.where + np.uint64(BROADCAST)
        lost = uniform(key, 2 * passes, agent.unit, where) < wiring.broadcast_loss[0]
        agent.count[TOLD] = 1 if lost else 0


@part
def take(agent, inbox, row):
    """A row of someone else: an observation or a packet, for a mailbox, or the critic's gate."""
    kind, j, value, count = inbox.kind[row], inbox.source[row], inbox.value[row], agent.count
    if kind == GATE:
        agent.gate[0] = value
    elif kind == DELIVER + DOWN:
        count[HEARD_ABOVE] += 1 - agent.heard_above[j]
        agent.heard_above[j] = 1
        agent.g_above[j] = value
    else:
        for k in range(agent.h.size):
            if inbox.unit[row] == k or inbox.unit[row] == NOBODY:
                count[HEARD] += 1 - agent.heard[k, j]
                agent.heard[k, j] = 1
                agent.x[k, j] = value
        if count[HEARD] == agent.heard.size and count[HEARD_AT] == NEVER:
            count[HEARD_AT] = inbox.time[row]


@part
def due(agent, wiring, begin):
    """The agent's next event: its time and the kind of its first row."""
    count = agent.count
    if count[SAMPLED] == 0:
        time = min(count[HEARD_AT], begin)
        if wiring.timer >= 0:
            time = min(time, count[TIME] + (agent.layer - 1) * wiring.timer)
        return time, SAMPLE
    time, kind = NEVER, TRACE
    if count[TOLD] == 0:
        time, kind = begin + wiring.broadcast_delay[0], BROADCAST_ROW
    if agent.layer >= wiring.errors_from and count[ERROR_TICKS] < count[TICKS]:
        tick = begin + agent.times[count[ERROR_TICKS]] + wiring.lag[0]
        if tick < time:
            time, kind = tick, ERROR_ROW
    if not agent.top and count[VALUE_TICKS] < count[TICKS]:
        tick = begin + agent.times[count[VALUE_TICKS]]
        if tick < time:
            time, kind = tick, VALUE_ROW
    if time == NEVER and count[TRACED] == 0:
        time = begin + wiring.duration
    return time, kind


@part
def tell(agent, kind, k, value, packet):
    """The event must have a row like this in the log."""
    row = agent.count[ROWS]
    agent.rows_kind[row] = kind
    agent.rows_unit[row] = k
    agent.rows_packet[row] = packet
    agent.rows_value[row] = value
    agent.count[ROWS] = row + 1


@part
def send(agent, wiring, d, k, payload):
    """Hand a packet to the wire, unless it has hardly changed.  Returns 0, or NOBODY."""
    if agent.sent[d, k] > 0 and np.abs(payload - agent.last[d, k]) < wiring.least_change[d]:
        return NOBODY
    agent.sent[d, k] += 1
    agent.last[d, k] = rounded(payload, wiring.quantum)
    return 0


@part
def refresh(agent):
    """Potentials, means and slopes from the mailbox."""
    n = agent.x.shape[1]
    for k in range(agent.h.size):
        agent.p[k] = unit.weigh(agent.w[k, n], agent.w[k, :n], agent.x[k])
    if agent.activation == SOFTMAX:
        softmax(agent.p, agent.T, agent.mu, 1)
    else:
        agent.mu[0], agent.slope[0] = unit.mean(agent.activation, agent.p[0])


@part
def find_error(agent, wiring):
    """Error packets g; 0 before the first move of a silent unit."""
    if agent.activation == SOFTMAX:
        packets_softmax(agent.h, agent.mu, agent.T, agent.g)
    elif wiring.silent and not agent.top and agent.count[MOVES] == 0:
        agent.g[0] = 0.0
    else:
        agent.g[0] = unit.error_packet(agent.h[0], agent.mu[0], agent.slope[0], agent.var[0])


@part
def sample(agent, wiring, given, s):
    """The agent samples, and sends its value upward."""
    refresh(agent)
    event = given.passes + s
    if agent.activation == SOFTMAX:
        sample_softmax(agent.mu, uniform(given.key, event, agent.unit, agent.where), agent.h)
    else:
        noise = normal(given.key, event, agent.unit, agent.where)
        agent.h[0] = unit.sample(agent.mu[0], agent.var[0], noise)
    for k in range(agent.h.size):
        agent.sampled[k], agent.sampled_mean[k] = agent.h[k], agent.mu[k]
        packet = NOBODY if agent.top else send(agent, wiring, UP, k, agent.h[k])
        tell(agent, SAMPLE, k, agent.h[k], packet)
    agent.count[SAMPLED] = 1


@part
def learn(agent, wiring, given, s, k):
    """Unit k updates its weights, its bias and its feedback weights (line 14)."""
    n, td_error, steps = agent.x.shape[1], given.td_error[s], given.iterations + s
    alpha = annealed(agent.alpha[0], agent.anneal_to[0], steps, given.anneal_steps)
    agent.updates[k] += 1
    moments = unit.moments(agent, agent.updates[k])
    w, z, m, v = agent.w[k], agent.z[k], agent.m[k], agent.v[k]
    keep = wiring.keep if agent.layer > 1 else 1.0
    unit.update(w[:n], z[:n], m[:n], v[:n], td_error, alpha, moments, keep)
    unit.update(w[n:], z[n:], m[n:], v[n:], td_error, alpha, moments, 1.0)
    if not agent.top and wiring.feedback == KOLEN_POLLACK:
        alpha = annealed(agent.alpha[1], agent.anneal_to[1], steps, given.anneal_steps)
        unit.update(agent.wt, agent.zt, agent.mt, agent.vt, td_error, alpha, moments, wiring.keep)


@part
def report(agent, wiring, kind):
    """The agent computes its error and sends it to the layer below."""
    refresh(agent)
    find_error(agent, wiring)
    for k in range(agent.h.size):
        packet = send(agent, wiring, DOWN, k, agent.g[k]) if agent.layer > 1 else NOBODY
        tell(agent, kind, k, agent.g[k], packet)


@part
def hear_td_error(agent, wiring, given, s):
    """The broadcast: the agent learns, then reports its error."""
    tell(agent, BROADCAST_ROW, 0, given.td_error[s], NOBODY)
    if given.learns[s]:
        agent.count[TOLD_AT] = agent.count[TIME]
        for k in range(agent.h.size):
            learn(agent, wiring, given, s, k)
    if agent.layer > 1:
        report(agent, wiring, ARM)
    agent.count[TOLD] = 1


@part
def tag(agent):
    """Keep what the trace will take."""
    for k in range(agent.h.size):
        agent.tagged_g[k] = agent.last[DOWN, k] if agent.sent[DOWN, k] > 0 else agent.g[k]
        agent.tagged_h[k] = agent.last[UP, k]
        for j in range(agent.x.shape[1]):
            agent.tagged_x[k, j] = agent.x[k, j]
    for j in range(agent.g_above.size):
        agent.tagged_g_above[j] = agent.g_above[j]


@part
def follow(agent, wiring, given, time):
    """Feedback weights follow the weights above, up to a time: not local."""
    while agent.count[CHANGE] < given.change_time.size:
        change = agent.count[CHANGE]
        if given.change_time[change] > time:
            break
        j, w = given.change_source[change], given.change_value[change]
        agent.wt[j] = w if wiring.feedback == SYMMETRIC else np.copysign(agent.wt[j], w)
        agent.count[CHANGE] = change + 1


@part
def value_tick(agent, wiring):
    """The unit moves (eq. 69) if it is armed, and sends its value upward."""
    agent.count[VALUE_TICKS] += 1
    if agent.count[HEARD_ABOVE] < agent.g_above.size:
        tell(agent, IDLE_ROW, 0, agent.h[0], NOBODY)
        return
    refresh(agent)
    feedback = unit.weigh(0.0, agent.wt, agent.g_above)
    agent.h[0] = unit.move(agent.h[0], agent.mu[0], agent.var[0], agent.c, feedback)
    agent.count[MOVES] += 1
    tell(agent, VALUE_ROW, 0, agent.h[0], send(agent, wiring, UP, 0, agent.h[0]))


@part
def trace_unit(agent, wiring, k, factor):
    """Unit k accumulates its trace (line 19) and that of its feedback weights."""
    n, tagged = agent.x.shape[1], 0 < wiring.trace_after <= agent.count[ERROR_TICKS]
    g = agent.last[DOWN, k] if agent.sent[DOWN, k] > 0 else agent.g[k]
    x, g_above, h = agent.x[k], agent.g_above, agent.last[UP, k]
    if tagged:
        g, x = agent.tagged_g[k], agent.tagged_x[k]
        g_above, h = agent.tagged_g_above, agent.tagged_h[k]
    g *= factor
    unit.accumulate(agent.z[k, :n], x, g, agent.trace_decay)
    agent.z[k, n] = agent.trace_decay * agent.z[k, n] + g
    if not agent.top and wiring.feedback == KOLEN_POLLACK:
        unit.accumulate_feedback(agent.zt, g_above, factor, h, agent.trace_decay)
    tell(agent, TRACE, k, g, NOBODY)


@part
def trace(agent, wiring):
    """Who has reported no error finds it now; the critic's output the gate; then the traces."""
    if agent.sent[DOWN, 0] == 0:
        refresh(agent)
        find_error(agent, wiring)
    if agent.gated and agent.top:
        agent.gate[0] = gate(agent.h[0], agent.mu[0], agent.gate_floor)
        tell(agent, GATE, 0, agent.gate[0], NOBODY)
    for k in range(agent.h.size):
        trace_unit(agent, wiring, k, agent.gate[0])
    agent.count[TRACED] = 1


@part
def act(agent, wiring, given, s, kind, time):
    """The agent's next event happens."""
    agent.count[ROWS] = agent.count[NEXT_ROW] = 0
    agent.count[TIME] = time
    if kind == SAMPLE:
        sample(agent, wiring, given, s)
    elif kind == BROADCAST_ROW:
        hear_td_error(agent, wiring, given, s)
    elif kind == ERROR_ROW:
        report(agent, wiring, ERROR_ROW)
        agent.count[ERROR_TICKS] += 1
        if agent.count[ERROR_TICKS] == wiring.trace_after:
            tag(agent)
    elif kind == VALUE_ROW:
        follow(agent, wiring, given, time)
        value_tick(agent, wiring)
    else:
        follow(agent, wiring, given, time)
        trace(agent, wiring)


@part
def miss(agent, found, s):
    """A row of the latest event is not in the log."""
    row, n = agent.count[NEXT_ROW], found.count[0]
    agent.count[NEXT_ROW] = row + 1
    found.count[0] = n + 1
    if n < found.missed_value.size:
        found.missed[n, 0] = s
        found.missed[n, 1] = agent.rows_kind[row]
        found.missed[n, 2] = agent.rows_unit[row]
        found.missed[n, 3] = agent.count[TIME]
        found.missed_value[n] = agent.rows_value[row]


@part
def catch_up(agent, wiring, given, s, time, found):
    """What had to happen before a time happens now; its rows are missing."""
    while True:
        if agent.count[NEXT_ROW] < agent.count[ROWS]:
            if agent.count[TIME] >= time:
                return
            miss(agent, found, s)
        else:
            when, kind = due(agent, wiring, given.begin[s])
            if when >= time:
                return
            act(agent, wiring, given, s, kind, when)


@part
def meet(agent, wiring, given, s, inbox, row, found):
    """A row of the agent's own: its next one, unless the log has one too many or too few."""
    while True:
        if agent.count[NEXT_ROW] == agent.count[ROWS]:
            when, kind = due(agent, wiring, given.begin[s])
            if when > inbox.time[row]:
                return
            act(agent, wiring, given, s, kind, when)
        k = agent.count[NEXT_ROW]
        if agent.rows_kind[k] == inbox.kind[row] and agent.rows_unit[k] == inbox.unit[row]:
            found.known[row] = 1
            found.time[row] = agent.count[TIME]
            found.packet[row] = agent.rows_packet[k]
            found.value[row] = agent.rows_value[k]
            agent.count[NEXT_ROW] = k + 1
            return
        miss(agent, found, s)


@part
def write_down(agent, s, found):
    """What the agent was in a step, and its weights if others must be given them."""
    found.told[s] = agent.count[TOLD_AT]
    for k in range(agent.h.size):
        found.mean[s, k] = agent.sampled_mean[k]
        found.sampled[s, k] = agent.sampled[k]
        found.relaxed[s, k] = agent.h[k]
        if found.weights.size > 0:
            for j in range(agent.x.shape[1]):
                found.weights[s, k, j] = agent.w[k, j]


@kernel
def replay(agent, wiring, given, inbox, found):
    """All steps of a window.  wiring: of a single unit, the agent's own."""
    for s in range(given.begin.size):
        begin_pass(agent, wiring, given, s)
        for row in range(inbox.first[s], inbox.first[s + 1]):
            catch_up(agent, wiring, given, s, inbox.time[row], found)
            if inbox.own[row]:
                meet(agent, wiring, given, s, inbox, row, found)
            else:
                take(agent, inbox, row)
        catch_up(agent, wiring, given, s, NEVER, found)
        write_down(agent, s, found)


@kernel
def most_ticks(agent, wiring, given):
    """Room that the agent's ticks need in any of the passes."""
    most, where = 0, agent.where + np.uint64(CLOCK)
    for s in range(given.begin.size):
        event = (given.passes + s) << 20
        made = tick_times(
            wiring, 0, event, agent.unit, where, given.key, agent.times, agent.intervals
        )
        most = max(most, made)
    return most
