"""Algorithm 1 for a batch of one-step episodes: one team, sample after sample.

The traces add up the batch: z += factor * grad log pi_l with trace_decay 1, then one Adam step on
z / batch size.
"""

import numpy as np

from neurosim.jit import kernel
from neurosim.kernels.activation import SOFTMAX
from neurosim.kernels.density import gate
from neurosim.kernels.layer import feedback
from neurosim.kernels.learning import trace_biases, trace_weights
from neurosim.kernels.reading import read_team
from neurosim.kernels.rng import EXPLORE, NOISE, uniform
from neurosim.kernels.team import (
    PASSES,
    clear_traces,
    draw_noise,
    first_diverged,
    learn,
    mean,
    packets,
    relax,
    sample,
)

REWARD, ANSWER, BACKPROP = range(3)  # what a sample's gradient is multiplied by, or comes from


@kernel
def act_batch(integers, floats, key, values, explore):
    """Line 6 for each sample: H[0] = S, then sample H[1], ..., H[L] = A with the current weights.

    values (n * U,) : the values of all units, sample after sample; the states are in it
    explore : probability that a hidden unit explores; the others output their mean (Section 5.1)
    """
    team = read_team(integers, floats)
    units = team.h.size
    for s in range(values.size // units):
        row = values[s * units : (s + 1) * units]
        draw_noise(team, key)
        if explore < 1.0:
            hold_still(team, key, explore)
        for i in range(team.size[0]):
            team.h[i] = row[i]
        for l in range(1, team.size.size):
            mean(team, l)
            sample(team, l)
        for i in range(units):
            row[i] = team.h[i]
        team.count[PASSES] += 1


@kernel
def hold_still(team, key, explore):
    """Take away the noise of the hidden units that do not explore at this sample.

    Then h = mu, so that e = 0 and such a unit is not updated either.
    """
    inputs = team.size[0]
    where = team.where + np.uint64(EXPLORE - NOISE)
    for i in range(inputs, team.unit[-1]):
        if uniform(key, team.count[PASSES], i - inputs, where) >= explore:
            team.noise[i] = 0.0


@kernel
def learn_batch(integers, floats, values, signal, rule):
    """Lines 9-12 for each sample, then W[l] += alpha[l] * mean of the gradients, through Adam.

    values (n * U,) : from `act_batch`
    signal (n,) : rewards G; answers A* where the rule is ANSWER, or BACKPROP to a Gaussian output
    Returns the first sample and unit that diverged, (-1, -1) if none did.
    """
    team = read_team(integers, floats)
    units = team.h.size
    clear_traces(team)
    for s in range(signal.size):
        for i in range(units):
            team.h[i] = values[s * units + i]
        if rule == BACKPROP:
            backpropagate(team, signal[s])
        else:
            relax(team)
            reinforce(team, signal[s], rule)
        bad = first_diverged(team)
        if bad >= 0:
            return s, bad
        add_gradient(team)
    learn(team, 1.0 / signal.size, 0, np.inf)
    return -1, -1


@kernel
def reinforce(team, signal, rule):
    """g[l] = factor * d log pi_l / d p[l], each layer's own (eqs. 3 and 9).

    factor = G, or (A* - mu[L]) / (A - mu[L]) from the values after relaxation (eq. 66).
    """
    for l in range(1, team.size.size):
        mean(team, l)
        packets(team, l)
    factor = signal
    if rule == ANSWER:
        factor = (signal - team.mu[-1]) * gate(team.h[-1], team.mu[-1], team.gate_floor)
    for i in range(team.size[0], team.g.size):
        team.g[i] *= factor


@kernel
def backpropagate(team, signal):
    """g[l] = d / d p[l] of G log pi_L(A), or of -(A* - mu[L])**2 for a Gaussian output.

    Hidden units are deterministic, h = mu: g[l] = slope * W[l+1]' g[l+1].
    """
    last = team.size.size - 1
    for l in range(1, last + 1):
        mean(team, l)
    if team.activation[last] == SOFTMAX:
        packets(team, last)
        for i in range(team.unit[last], team.g.size):
            team.g[i] *= signal
    else:
        team.g[-1] = 2.0 * (signal - team.mu[-1])
    for l in range(last - 1, 0, -1):
        first, end = team.unit[l], team.unit[l + 1]
        above = team.param[l + 1]
        g_above = team.g[end : end + team.size[l + 1]]
        f = team.f[first:end]
        feedback(team.w[above : above + team.size[l] * team.size[l + 1]], g_above, f)
        for i in range(first, end):
            team.g[i] = team.f[i] * team.slope[i]


@kernel
def add_gradient(team):
    """z[l] += outer(g[l], h[l-1])."""
    for l in range(1, team.size.size):
        n_in, n_out = team.size[l - 1], team.size[l]
        below = team.h[team.unit[l - 1] : team.unit[l - 1] + n_in]
        g = team.g[team.unit[l] : team.unit[l] + n_out]
        a = team.param[l]
        b = a + n_out * n_in
        trace_weights(team.z[a:b], below, g, 1.0)
        trace_biases(team.z[b : b + n_out], g, 1.0)
