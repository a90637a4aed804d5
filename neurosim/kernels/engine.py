"""One time step of a team whose units are agents of their own (docs/asynchronous.md).

The four verbs: `act`, the sampling wave; `relax`, the broadcast and the window; `accumulate`, the
gate and the traces; `learn_last`, the broadcast that ends an episode.  Before a pass, `clock.plan`.
"""

import numpy as np

from neurosim.jit import part
from neurosim.kernels import unit
from neurosim.kernels.activation import SOFTMAX, activate
from neurosim.kernels.clock import (
    BEGIN,
    BROADCAST,
    CLOSE,
    ERROR_TICK,
    NOW,
    VALUE_TICK,
    bits_for,
)
from neurosim.kernels.density import gate, packets_softmax, sample_softmax, softmax
from neurosim.kernels.learning import annealed
from neurosim.kernels.rng import BROADCAST as BROADCAST_STREAM
from neurosim.kernels.rng import uniform
from neurosim.kernels.team import PASSES, draw_noise
from neurosim.kernels.traffic import (
    ARM,
    BROADCAST_ROW,
    DOWN,
    ERROR_ROW,
    FEEDBACK,
    FORWARD,
    GATE,
    IDLE,
    IDLE_ROW,
    LEARNING,
    MOVES,
    NOBODY,
    OBSERVE,
    REPORTS,
    SAMPLE,
    TRACE,
    UP,
    VALUE_ROW,
    collect,
    emit,
    empty,
    first_synapse,
    link,
    lost_on_synapse,
    mailbox,
    note_age,
    send,
    tally,
)

SYMMETRIC, KOLEN_POLLACK, SIGN_SYMMETRIC, RANDOM = range(4)  # feedback
FEEDBACKS = {
    "symmetric": SYMMETRIC,
    "kolen_pollack": KOLEN_POLLACK,
    "sign_symmetric": SIGN_SYMMETRIC,
    "random": RANDOM,
}
NEVER = np.iinfo(np.int64).max


@part
def row(team, wiring, u):
    """Unit u's layer, where its weights begin, how many there are, and where its bias is."""
    layer = wiring.layer[u]
    n = team.size[layer - 1]
    i = u - team.unit[layer]
    return (
        layer,
        team.param[layer] + i * n,
        n,
        team.param[layer] + team.size[layer] * n + i,
    )


@part
def feedback_row(team, u, layer):
    """Where unit u's feedback weights begin in wt, and how many there are."""
    n = team.size[layer + 1]
    return team.param[layer + 1] + (u - team.unit[layer]) * n, n


@part
def renew(team, wiring, mail, u):
    """Potential of unit u from its mailbox, summed anew if something has arrived since.  Returns
    whether it was."""
    layer, first, n, bias = row(team, wiring, u)
    version = mail.version[layer - 1]
    if mail.seen[u] == version and (layer == 1 or not wiring.per_synapse):
        return False
    mail.seen[u] = version
    x, _ = mailbox(team, wiring, mail, UP, u, layer)
    team.p[u] = unit.weigh(team.w[bias], team.w[first : first + n], x)
    tally(mail, team.size.size, FORWARD, n)
    return True


@part
def refresh(team, wiring, mail, u):
    """Potential, mean and slope of unit u from its mailbox; of a softmax outcome the potential."""
    activation = team.activation[wiring.layer[u]]
    if renew(team, wiring, mail, u) and activation != SOFTMAX:
        team.mu[u], team.slope[u] = unit.mean(activation, team.p[u])


@part
def error_of(team, wiring, mail, u, layer, p):
    """An agent's error packets g, of a softmax agent from its potentials p; 0 before its first
    move if it is silent."""
    if team.activation[layer] == SOFTMAX:
        last = u + team.size[layer]
        softmax(p, team.T, team.mu[u:last], 1)
        packets_softmax(team.h[u:last], team.mu[u:last], team.T, team.g[u:last])
    elif wiring.silent and layer < team.size.size - 1 and mail.moves[u] == 0:
        team.g[u] = 0.0
    else:
        team.g[u] = unit.error_packet(team.h[u], team.mu[u], team.slope[u], team.var[u])


@part
def ready_time(team, wiring, mail, key, u, layer):
    """When unit u samples: all values of this pass are there, or its timer has run out."""
    now = mail.clock[NOW]
    if layer == 1:
        return now
    below, n = team.unit[layer - 1], team.size[layer - 1]
    latest = now
    if wiring.per_synapse:
        first, i = first_synapse(team, UP, u, layer), u - team.unit[layer]
        for j in range(n):
            s = below + j
            if mail.wired[s] == 0 or lost_on_synapse(team, wiring, key, UP, s, 0, i):
                latest = NEVER
                break
            arrival = mail.packets[4 * mail.start[s]] + wiring.synapse_delay[first + j]
            latest = max(latest, arrival)
    else:
        first, last = mail.start[below], mail.tail[layer - 1]
        if last - first < n:
            latest = NEVER
        for place in range(first, last):
            latest = max(latest, mail.packets[4 * place])
    if wiring.timer >= 0:
        latest = min(latest, now + (layer - 1) * wiring.timer)
    return latest


@part
def act(team, wiring, mail, log, key, observation):
    """Sampling wave on an observation.  Returns the time at which the output has sampled."""
    inputs, layers = team.size[0], team.size.size
    empty(team, mail)
    draw_noise(team, key)
    team.count[PASSES] += 1
    mail.clock[CLOSE] = NEVER
    for j in range(inputs):
        team.h[j] = team.sampled[j] = mail.heard[j] = observation[j]
        emit(log, mail.clock[NOW], OBSERVE, j, observation[j], NOBODY, NOBODY, 1)
    done = mail.clock[NOW]
    for layer in range(1, layers):
        first, last = team.unit[layer], team.unit[layer] + team.size[layer]
        together = layer == 1 or not wiring.per_synapse
        latest = 0
        for u in range(first, last):
            if u == first or not together:
                mail.ready[u] = ready_time(team, wiring, mail, key, u, layer)
            else:
                mail.ready[u] = mail.ready[first]
            latest = max(latest, mail.ready[u])
        for u in range(first, last):
            if team.activation[layer] == SOFTMAX:
                mail.ready[u] = latest
            collect(team, wiring, mail, log, key, UP, u, layer, mail.ready[u])
            refresh(team, wiring, mail, u)
        if team.activation[layer] == SOFTMAX:
            mu, h = team.mu[first:last], team.h[first:last]
            softmax(team.p[first:last], team.T, mu, 1)
            sample_softmax(mu, team.noise[first], h)
        for u in range(first, last):
            if team.activation[layer] != SOFTMAX:
                team.h[u] = unit.sample(team.mu[u], team.var[u], team.noise[u])
            team.sampled[u] = team.h[u]
            time, sample = mail.ready[u], log.count[0]
            emit(log, time, SAMPLE, u - inputs, team.h[u], NOBODY, NOBODY, 1)
            if layer < layers - 1:
                packet = send(team, wiring, mail, log, key, UP, u, team.h[u], time, 1)
                link(log, sample, packet)
        done = max(done, latest)
    return done


@part
def learn(team, wiring, mail, u, td_error, steps, anneal_steps):
    """Unit u updates its weights, its bias and its feedback weights (line 14)."""
    layer, first, n, bias = row(team, wiring, u)
    layers = team.size.size
    alpha = annealed(team.alpha[layer], team.anneal_to[layer], steps, anneal_steps)
    mail.updates[u] += 1
    moments = unit.moments(team, mail.updates[u])
    keep = wiring.keep if layer > 1 else 1.0
    unit.update(
        team.w[first : first + n],
        team.z[first : first + n],
        team.m[first : first + n],
        team.v[first : first + n],
        td_error,
        alpha,
        moments,
        keep,
    )
    unit.update(
        team.w[bias : bias + 1],
        team.z[bias : bias + 1],
        team.m[bias : bias + 1],
        team.v[bias : bias + 1],
        td_error,
        alpha,
        moments,
        1.0,
    )
    mail.seen[u] = -1
    updated = n + 1
    if layer > 1 and (wiring.feedback == SYMMETRIC or wiring.feedback == SIGN_SYMMETRIC):
        carry_weights(team, wiring, u, layer, first, n)
    if layer < layers - 1 and wiring.feedback == KOLEN_POLLACK:
        a, above = feedback_row(team, u, layer)
        alpha = annealed(team.alpha[layer + 1], team.anneal_to[layer + 1], steps, anneal_steps)
        unit.update(
            team.wt[a : a + above],
            mail.zt[a : a + above],
            mail.mt[a : a + above],
            mail.vt[a : a + above],
            td_error,
            alpha,
            moments,
            wiring.keep,
        )
        updated += above
    tally(mail, layers, LEARNING, 3 * updated)


@part
def carry_weights(team, wiring, u, layer, first, n):
    """Unit u's weights, or their signs, become feedback weights of the units below: not local."""
    k, above = u - team.unit[layer], team.size[layer]
    a = team.param[layer]
    for j in range(n):
        place = a + j * above + k
        w = team.w[first + j]
        if wiring.feedback == SYMMETRIC:
            team.wt[place] = w
        else:
            team.wt[place] = np.copysign(team.wt[place], w)


@part
def reached(team, wiring, key, u, event):
    """Whether a td_error reaches unit u."""
    if wiring.broadcast_loss[u] == 0.0:
        return True
    where = team.where + np.uint64(BROADCAST_STREAM)
    return uniform(key, event, u - team.size[0], where) >= wiring.broadcast_loss[u]


@part
def tag(team, wiring, mail, u):
    """Keep what unit u's trace will take."""
    layer, first, n, _ = row(team, wiring, u)
    out = team.h.size + u
    mail.tagged_g[u] = mail.last[out] if mail.sent[out] > 0 else team.g[u]
    x, _ = mailbox(team, wiring, mail, UP, u, layer)
    for j in range(n):
        mail.tagged_x[first + j] = x[j]
    if wiring.feedback == KOLEN_POLLACK and layer < team.size.size - 1:
        a, above = feedback_row(team, u, layer)
        g_above, _ = mailbox(team, wiring, mail, DOWN, u, layer)
        mail.tagged_h[u] = mail.last[u]
        for k in range(above):
            mail.tagged_g_above[a + k] = g_above[k]


@part
def last_of(team, u, layer):
    """End of the units that share unit u's clock: all outcomes of a softmax agent, or itself."""
    return u + (team.size[layer] if team.activation[layer] == SOFTMAX else 1)


@part
def rank_of(wiring, kind):
    """Order of an event among those of its time: where layers take turns, by its kind."""
    return 1 + kind if wiring.lookahead > 0 else 1


@part
def report(team, wiring, mail, log, key, kind, u, layer, time, p):
    """An agent computes its error and sends it to the layer below.  p: its potentials."""
    error_of(team, wiring, mail, u, layer, p)
    rank, row_kind = rank_of(wiring, kind), ARM if kind == BROADCAST else ERROR_ROW
    for k in range(u, last_of(team, u, layer)):
        event = log.count[0]
        emit(log, time, row_kind, k - team.size[0], team.g[k], NOBODY, NOBODY, rank)
        if layer > 1:
            link(log, event, send(team, wiring, mail, log, key, DOWN, k, team.g[k], time, rank))


@part
def broadcast(team, wiring, mail, log, key, u, time, td_error, learning, steps, anneal_steps):
    """A td_error reaches an agent: it learns, then reports its error to the layer below."""
    layer = wiring.layer[u]
    last = last_of(team, u, layer)
    if not reached(team, wiring, key, u, 2 * (team.count[PASSES] - 1)):
        return
    emit(log, time, BROADCAST_ROW, u - team.size[0], td_error, NOBODY, NOBODY, 1)
    for k in range(u, last if learning else u):
        learn(team, wiring, mail, k, td_error, steps, anneal_steps)
    if layer > 1:
        for k in range(u, last):
            collect(team, wiring, mail, log, key, UP, k, layer, time)
            note_age(team, wiring, mail, UP, k, layer, time)
            refresh(team, wiring, mail, k)
        report(team, wiring, mail, log, key, BROADCAST, u, layer, time, team.p[u:last])


@part
def gather(team, wiring, mail, log, key, begin, layer, first, last, bits):
    """What the ticks first ... last - 1 of a layer take from the mailboxes: potentials and, for
    value ticks, feedback.  Returns the end of those that there was room for, and of their entries.
    """
    units, layers = team.h.size, team.size.size
    mask = (1 << bits) - 1
    k, n = first, 0
    while k < last:
        u = (mail.ticks[k] & mask) - units
        moving = u >= units
        u -= units if moving else 0
        end = last_of(team, u, layer)
        if n + end - u > mail.p.size:
            break
        time = begin + (mail.ticks[k] >> bits)
        armed = True
        if layer < layers - 1 and (moving or wiring.trace_after > 0):
            collect(team, wiring, mail, log, key, DOWN, u, layer, time)
        if moving:
            a, above = feedback_row(team, u, layer)
            g_above, armed = mailbox(team, wiring, mail, DOWN, u, layer)
            mail.armed[n] = armed
            if armed:
                note_age(team, wiring, mail, DOWN, u, layer, time)
                mail.f[n] = unit.weigh(0.0, team.wt[a : a + above], g_above)
                tally(mail, layers, FEEDBACK, above)
        if armed:
            for i in range(u, end):
                collect(team, wiring, mail, log, key, UP, i, layer, time)
                note_age(team, wiring, mail, UP, i, layer, time)
                renew(team, wiring, mail, i)
                mail.p[n + i - u] = team.p[i]
        n += end - u
        k += 1
    return k, n


@part
def tick(team, wiring, mail, log, key, layer, u, moving, n, time):
    """A value tick (eq. 69) or an error tick of an agent, from entry n on of what was gathered."""
    layers, inputs = team.size.size, team.size[0]
    last = last_of(team, u, layer)
    if moving and not mail.armed[n]:
        tally(mail, layers, IDLE, 1)
        rank = rank_of(wiring, VALUE_TICK)
        emit(log, time, IDLE_ROW, u - inputs, team.h[u], NOBODY, NOBODY, rank)
        return last - u
    if team.activation[layer] != SOFTMAX:
        team.mu[u], team.slope[u] = mail.mu[n], mail.slope[n]
    if moving:
        team.f[u] = mail.f[n]
        team.h[u] = unit.move(team.h[u], team.mu[u], team.var[u], team.c, team.f[u])
        mail.moves[u] += 1
        tally(mail, layers, MOVES, 1)
        event, rank = log.count[0], rank_of(wiring, VALUE_TICK)
        emit(log, time, VALUE_ROW, u - inputs, team.h[u], NOBODY, NOBODY, rank)
        link(log, event, send(team, wiring, mail, log, key, UP, u, team.h[u], time, rank))
    else:
        report(team, wiring, mail, log, key, ERROR_TICK, u, layer, time, mail.p[n : n + last - u])
        tally(mail, layers, REPORTS, 1)
        for k in range(u, last):
            mail.error_ticks[k] += 1
            if mail.error_ticks[k] == wiring.trace_after:
                tag(team, wiring, mail, k)
    return last - u


@part
def run_layer(team, wiring, mail, log, key, begin, layer, horizon, bits):
    """All ticks of a layer before a horizon: first they take their sums, then they act.

    Nothing that is sent before the horizon arrives before it, so that the sums of many units
    overlap in the processor and the activation function runs over vectors.
    """
    units = team.h.size
    mask = (1 << bits) - 1
    first = last = mail.next[layer]
    while last < mail.segment[layer + 1] and (mail.ticks[last] >> bits) < horizon:
        last += 1
    if wiring.lookahead == 0:
        last = min(last, first + 1)
    mail.next[layer] = last
    while first < last:
        end, n = gather(team, wiring, mail, log, key, begin, layer, first, last, bits)
        if team.activation[layer] != SOFTMAX:
            activate(team.activation[layer], mail.p[:n], mail.mu[:n], mail.slope[:n])
        n = 0
        for k in range(first, end):
            u = (mail.ticks[k] & mask) - units
            moving = u >= units
            u -= units if moving else 0
            time = begin + (mail.ticks[k] >> bits)
            n += tick(team, wiring, mail, log, key, layer, u, moving, n, time)
        first = end


@part
def land(team, wiring, mail, log, key):
    """All packets on their way arrive."""
    layers = team.size.size
    for layer in range(1, layers):
        for u in range(team.unit[layer], team.unit[layer] + team.size[layer]):
            for d in range(2 if layer < layers - 1 else 1):
                collect(team, wiring, mail, log, key, d, u, layer, NEVER)


@part
def relax(team, wiring, mail, log, key, begin, td_error, learning, steps, anneal_steps):
    """The broadcast of td_error at time `begin` and the window; then all packets land."""
    layers = team.size.size
    bits = bits_for(team.h.size)
    mask = (1 << bits) - 1
    mail.clock[BEGIN] = begin
    mail.clock[CLOSE] = begin + wiring.window
    while True:
        told = NEVER if mail.next[0] == mail.segment[1] else mail.ticks[mail.next[0]]
        earliest, soonest = NEVER, 0
        for l in range(1, layers):
            k = mail.next[l]
            if k < mail.segment[l + 1] and mail.ticks[k] < earliest:
                earliest, soonest = mail.ticks[k], l
        if told < earliest:
            time = begin + (told >> bits)
            u = told & mask
            mail.next[0] += 1
            broadcast(
                team, wiring, mail, log, key, u, time, td_error, learning, steps, anneal_steps
            )
            continue
        if earliest == NEVER:
            break
        horizon = min((earliest >> bits) + max(wiring.lookahead, 1), told >> bits)
        for l in range(1, layers):
            if wiring.lookahead > 0 or l == soonest:
                run_layer(team, wiring, mail, log, key, begin, l, horizon, bits)
    land(team, wiring, mail, log, key)


@part
def accumulate(team, wiring, mail, log):
    """Who has reported no error finds it now; the gate; then each unit's trace (line 19)."""
    units, inputs, layers = team.h.size, team.size[0], team.size.size
    time = mail.clock[BEGIN] + wiring.duration
    for u in range(inputs, units):
        if mail.sent[units + u] == 0:
            refresh(team, wiring, mail, u)
            if team.activation[wiring.layer[u]] != SOFTMAX:
                error_of(team, wiring, mail, u, wiring.layer[u], team.p)
            elif u == units - 1:
                first = team.unit[layers - 1]
                error_of(team, wiring, mail, first, layers - 1, team.p[first:])
    factor = 1.0
    if team.gated:
        factor = gate(team.h[-1], team.mu[-1], team.gate_floor)
        emit(log, time, GATE, units - 1 - inputs, factor, NOBODY, NOBODY, 1)
    for u in range(inputs, units):
        layer, first, n, bias = row(team, wiring, u)
        tagged = 0 < wiring.trace_after <= mail.error_ticks[u]
        g = mail.last[units + u] if mail.sent[units + u] > 0 else team.g[u]
        x, _ = mailbox(team, wiring, mail, UP, u, layer)
        if tagged:
            g, x = mail.tagged_g[u], mail.tagged_x[first : first + n]
        g *= factor
        unit.accumulate(team.z[first : first + n], x, g, team.trace_decay)
        team.z[bias] = team.trace_decay * team.z[bias] + g
        tally(mail, layers, LEARNING, n + 1)
        emit(log, time, TRACE, u - inputs, g, NOBODY, NOBODY, 1)
        if layer < layers - 1 and wiring.feedback == KOLEN_POLLACK:
            a, above = feedback_row(team, u, layer)
            g_above, _ = mailbox(team, wiring, mail, DOWN, u, layer)
            h = mail.last[u]
            if tagged:
                g_above, h = mail.tagged_g_above[a : a + above], mail.tagged_h[u]
            z = mail.zt[a : a + above]
            unit.accumulate_feedback(z, g_above, factor, h, team.trace_decay)
            tally(mail, layers, LEARNING, above)


@part
def learn_last(team, wiring, mail, log, key, td_error, steps, anneal_steps):
    """The td_error of an episode's last transition reaches the agents."""
    land(team, wiring, mail, log, key)
    event = 2 * (team.count[PASSES] - 1) + 1
    for u in range(team.size[0], team.h.size):
        if wiring.agent[u] and reached(team, wiring, key, u, event):
            for k in range(u, last_of(team, u, wiring.layer[u])):
                learn(team, wiring, mail, k, td_error, steps, anneal_steps)


@part
def clear_traces(team, mail):
    """z = 0 at the start of an episode."""
    for k in range(team.z.size):
        team.z[k] = 0.0
    for k in range(mail.zt.size):
        mail.zt[k] = 0.0
