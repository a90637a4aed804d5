"""The four phases of Algorithm 2 for one team, layer by layer."""

import numpy as np

from neurosim.jit import aside, kernel
from neurosim.kernels.activation import SOFTMAX, activate
from neurosim.kernels.density import (
    energy_gaussian,
    energy_softmax,
    gate,
    packets_gaussian,
    packets_softmax,
    sample_gaussian,
    sample_softmax,
    softmax,
)
from neurosim.kernels.layer import feedback, potential, transpose
from neurosim.kernels.learning import adam, annealed, power, trace_biases, trace_weights
from neurosim.kernels.rng import EXPLORE, NOISE, PROPOSAL, normal, normals, uniform

PASSES, UPDATES = range(2)  # entries of Team.count
FAR = 1e6  # standard deviations; relaxation with c = 3 takes a lone unit (1 - c)**20 = 1e6 away


@kernel
def mean(team, l):
    """p[l] = W[l] h[l-1] + b[l], mu[l] = f(p[l]) and slope[l] of one layer, if it decides."""
    if team.held[l] > 0:
        return
    samples = team.samples
    below, first = team.unit[l - 1] * samples, team.unit[l] * samples
    last = first + team.size[l] * samples
    weights = team.param[l]
    biases = weights + team.size[l] * team.size[l - 1]
    p, mu = team.p[first:last], team.mu[first:last]
    rows = team.wt if samples == 1 else team.w
    b = team.w[biases : biases + team.size[l]]
    potential(rows[weights:biases], b, team.h[below:first], p, samples)
    if team.activation[l] == SOFTMAX:
        softmax(p, team.T, mu, samples)
    else:
        activate(team.activation[l], p, mu, team.slope[first:last])


@kernel
def sample(team, l):
    """H[l] ~ pi_l, from noise that is drawn already; units that do not decide hold their values."""
    if team.held[l] > 0:
        return
    first, last = team.unit[l], team.unit[l] + team.size[l]
    h, mu = team.h[first:last], team.mu[first:last]
    if team.activation[l] == SOFTMAX:
        sample_softmax(mu, team.noise[first], h)
    else:
        sample_gaussian(mu, team.var[first:last], team.noise[first:last], h)


@kernel
def packets(team, l):
    """Error packets g[l] of one layer; 0 where it holds its values, which have no density."""
    first = team.unit[l] * team.samples
    last = first + team.size[l] * team.samples
    h, mu, g = team.h[first:last], team.mu[first:last], team.g[first:last]
    if team.held[l] > 0:
        g[:] = 0.0
    elif team.activation[l] == SOFTMAX:
        packets_softmax(h, mu, team.T, g)
    else:
        packets_gaussian(h, mu, team.slope[first:last], team.var[first:last], g)


@kernel
def feed_back(team, l):
    """f[l] = W[l+1]' g[l+1] of a hidden layer (eq. 69)."""
    samples = team.samples
    first, last = team.unit[l] * samples, team.unit[l + 1] * samples
    above, end = team.param[l + 1], team.param[l + 1] + team.size[l] * team.size[l + 1]
    rows = team.w if samples == 1 else team.wt
    g_above = team.g[last : last + team.size[l + 1] * samples]
    feedback(rows[above:end], g_above, team.f[first:last], samples)


@kernel
def move(team, l):
    """One relaxation step of a hidden layer (eqs. 8 and 69): alpha_h = c var, so
    h += c (mu - h + var W' g).  A layer that holds its values stays."""
    if team.held[l] > 0:
        return
    feed_back(team, l)
    first, last = team.unit[l] * team.samples, team.unit[l + 1] * team.samples
    h, mu, var, f = (
        team.h[first:last],
        team.mu[first:last],
        team.var[first:last],
        team.f[first:last],
    )
    for i in range(h.size):
        h[i] += team.c * ((mu[i] - h[i]) + var[i] * f[i])


@kernel
def draw_noise(team, key):
    """Noise of the next feed-forward pass, a function of (seed; unit, pass) alone."""
    inputs, outputs = team.size[0], team.unit[-1]
    event = team.count[PASSES]
    if team.activation[-1] == SOFTMAX:
        normals(key, event, team.where, team.noise[inputs:outputs])
        team.noise[outputs] = uniform(key, event, outputs - inputs, team.where)
    else:
        normals(key, event, team.where, team.noise[inputs:])


@aside
def hold_still(team, key):
    """Thomas (Section 5.3): a hidden unit that does not explore outputs its mean, its noise is 0.

    A normal number is never exactly 0, so the noise itself says who explores.
    """
    inputs, outputs = team.size[0], team.unit[-1]
    where = team.where + np.uint64(EXPLORE - NOISE)
    for i in range(inputs, outputs):
        if uniform(key, team.count[PASSES], i - inputs, where) >= team.explore:
            team.noise[i] = 0.0


@aside
def toss_coin(team, key):
    """Noise of a pass whose hidden units output their means: 0, and at a Gaussian output +-1.

    A = mu[L] +- sqrt(var[L]), by the sign of the normal number that would be the output's noise.
    """
    inputs, output = team.size[0], team.unit[-1]
    for i in range(inputs, output):
        team.noise[i] = 0.0
    drawn = normal(key, team.count[PASSES], output - inputs, team.where)
    team.noise[output] = 1.0 if drawn > 0.0 else -1.0


@kernel
def feed_forward(team, observation, key):
    """Lines 9-11: H[0] = S, then sample H[1], ..., H[L] = A with the current weights."""
    draw_noise(team, key)
    if team.explore < 1.0:
        hold_still(team, key)
    pass_on(team, observation)


@kernel
def pass_on(team, observation):
    """Lines 9-11 with noise that is drawn already: the next step of the episode."""
    for j in range(observation.size):
        team.h[j] = observation[j]
    for l in range(1, team.size.size):
        team.held[l] = (team.held[l] + 1) % team.hold[l]
        mean(team, l)
        sample(team, l)
    for i in range(team.h.size):
        team.sampled[i] = team.h[i]
    team.count[PASSES] += 1


@kernel
def learn(team, td_error, steps, anneal_steps):
    """Line 14: W[l] += alpha[l] td_error z[l], through Adam."""
    team.count[UPDATES] += 1
    t = team.count[UPDATES]
    corrected = t < team.bias_correction_until
    correction1 = 1.0 - power(team.beta1, t) if corrected else 1.0
    correction2 = 1.0 - power(team.beta2, t) if corrected else 1.0
    moments = (team.beta1, team.beta2, team.epsilon, correction1, correction2)
    for l in range(1, team.size.size):
        n_in, n_out = team.size[l - 1], team.size[l]
        a = team.param[l]
        b = a + n_out * n_in + n_out
        alpha = annealed(team.alpha[l], team.anneal_to[l], steps, anneal_steps)
        adam(team.w[a:b], team.z[a:b], team.m[a:b], team.v[a:b], td_error, alpha, moments)
        transpose(team.w[a : a + n_out * n_in], n_out, n_in, team.wt[a : a + n_out * n_in])


@kernel
def energy(team, first):
    """E(h; s, a) = -sum_l log pi_l (Section 2) without the constants of Gaussian densities.

    The means of layers from `first` up are computed anew; those below it stand.
    """
    for l in range(first, team.size.size):
        mean(team, l)
    total = 0.0
    for l in range(1, team.size.size):
        a, b = team.unit[l], team.unit[l] + team.size[l]
        if team.activation[l] == SOFTMAX:
            total += energy_softmax(team.h[a:b], team.p[a:b], team.T)
        else:
            total += energy_gaussian(team.h[a:b], team.mu[a:b], team.var[a:b])
    return total


@kernel
def propose(team, key, event):
    """h' = h + proposal sqrt(var) xi of all hidden units, xi standard normal; h is kept in f."""
    where = team.where + np.uint64(PROPOSAL - NOISE)
    inputs = team.size[0]
    for i in range(inputs, team.unit[-1]):
        team.f[i] = team.h[i]
        xi = normal(key, event, i - inputs, where)
        team.h[i] += team.proposal * np.sqrt(team.var[i]) * xi


@aside
def climb(team, key, number, first):
    """Lines 16-18 by hill climbing (Appendix F): N proposals of all hidden units together.

    E(h'; s, a) < E(h; s, a): all keep what they proposed; otherwise all go back.  The energy is one
    number, of all units for all units; nothing comes down from the layer above.

    number : of the feed-forward pass.  first : number of the first proposal.
    """
    held = energy(team, 1)
    for n in range(first, first + team.N):
        propose(team, key, number << 20 | n)
        # the first layer's input is the state: its mean moves only when the weights do
        proposed = energy(team, 2)
        if proposed < held:
            held = proposed
        else:
            for i in range(team.size[0], team.unit[-1]):
                team.h[i] = team.f[i]


@kernel
def relax(team, key, number, first):
    """Lines 16-18: N steps down the energy, all hidden layers at once from the old values.

    number : of the feed-forward pass whose values these are.
    first : number of the first step; 0, or how many were made already, of a team that climbs.
    """
    if team.proposal > 0.0:
        climb(team, key, number, first)
        return
    layers = team.size.size
    fresh = not team.stale_first_mean
    for n in range(team.N):
        if n > 0 or fresh:
            # the first layer's input is the state: its mean moves only when the weights do
            for l in range(1 if n == 0 or (n == 1 and not fresh) else 2, layers):
                mean(team, l)
        for l in range(2, layers):
            packets(team, l)
        for l in range(1, layers - 1):
            move(team, l)


@kernel
def local_packets(team):
    """g[l] = d log pi_l / d p[l] of each layer (eqs. 3 and 9)."""
    for l in range(1, team.size.size):
        mean(team, l)
        packets(team, l)


@aside
def spare_still(team):
    """Thomas (Section 5.3): a hidden unit that does not explore is not updated, its g is 0."""
    for i in range(team.size[0], team.unit[-1]):
        if team.noise[i] == 0.0:
            team.g[i] = 0.0


@aside
def backpropagate(team):
    """g[l] = d log pi_L / d p[l] for the action taken; d mu[L] / d p[l] if it is the mean (eq. 10).

    h[l] = mu[l] + sqrt(var[l]) noise[l] below the action, with the noise of the feed-forward pass
    and the weights as they are now; var = 0 is an ordinary network.  g[l] = slope * W[l+1]' g[l+1].
    """
    last = team.size.size - 1
    still = team.var[-1] == 0.0  # the output is its mean
    for l in range(1, last + 1):
        mean(team, l)
        if l < last or still:
            sample(team, l)
    if still:
        team.g[-1] = 1.0  # mu[L] = p[L]
    else:
        packets(team, last)
    for l in range(last - 1, 0, -1):
        feed_back(team, l)
        for i in range(team.unit[l], team.unit[l + 1]):
            team.g[i] = team.f[i] * team.slope[i]


@kernel
def scale_packets(team, factor):
    """g[l] *= factor, in all layers."""
    for i in range(team.size[0], team.g.size):
        team.g[i] *= factor


@kernel
def accumulate(team):
    """Line 19: z[l] = gamma lambda z[l] + outer(g[l], h[l-1]), with the g of the team's rule.

    That of a critic by a local rule is times the gate (eq. 68).
    """
    if team.backprop:
        backpropagate(team)
    else:
        local_packets(team)
        if team.explore < 1.0:
            spare_still(team)
        if team.gated:
            scale_packets(team, gate(team.h[-1], team.mu[-1], team.gate_floor))
    trace(team)


@kernel
def trace(team):
    """z[l] = gamma lambda z[l] + outer(g[l], h[l-1])."""
    for l in range(1, team.size.size):
        n_in, n_out = team.size[l - 1], team.size[l]
        below = team.h[team.unit[l - 1] : team.unit[l - 1] + n_in]
        g = team.g[team.unit[l] : team.unit[l] + n_out]
        a = team.param[l]
        b = a + n_out * n_in
        trace_weights(team.z[a:b], below, g, team.trace_decay)
        trace_biases(team.z[b : b + n_out], g, team.trace_decay)


@kernel
def clear_traces(team):
    """Line 7: z = 0 at the start of an episode."""
    for i in range(team.z.size):
        team.z[i] = 0.0


@kernel
def begin_episode(team):
    """Line 7; all units decide at the first step of an episode."""
    clear_traces(team)
    for l in range(team.held.size):
        team.held[l] = -1


@kernel
def first_diverged(team):
    """Index of the first unit, inputs not counted, that is not within FAR of its mean, or -1."""
    first = team.size[0]
    far = 0
    for i in range(first, team.h.size):
        e = team.h[i] - team.mu[i]
        far += 0 if e * e <= FAR * FAR * team.var[i] else 1  # nan is far, too
    if far > 0:
        for i in range(first, team.h.size):
            e = team.h[i] - team.mu[i]
            if not e * e <= FAR * FAR * team.var[i]:
                return i - first
    return -1
