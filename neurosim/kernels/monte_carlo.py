"""Algorithm 1 for a batch of one-step episodes: one team, sample after sample.

Samples relax TOGETHER at a time, side by side in vector registers.  The traces, whose decay is 1,
add up the batch; then comes one Adam step on z / batch size.
"""

import numpy as np

from neurosim.jit import kernel
from neurosim.kernels.density import gate
from neurosim.kernels.reading import read_team, side_by_side
from neurosim.kernels.team import (
    PASSES,
    backpropagate,
    clear_traces,
    climb,
    feed_forward,
    first_diverged,
    learn,
    local_packets,
    pass_on,
    relax,
    scale_packets,
    toss_coin,
    trace,
)
from neurosim.kernels.tile import TOGETHER


@kernel
def act_batch(integers, floats, key, values, coin):
    """Line 6 for each sample: H[0] = S, then sample H[1], ..., H[L] = A with the current weights.

    values (n * U,) : the values of all units, sample after sample; the states are in it
    coin : whether H[l] = mu[l] instead and a fair coin decides on A = mu[L] +- sqrt(var[L])
    """
    team = read_team(integers, floats)
    units = team.h.size
    for s in range(values.size // units):
        row = values[s * units : (s + 1) * units]
        state = row[: team.size[0]]
        if coin:
            toss_coin(team, key)
            pass_on(team, state)
        else:
            feed_forward(team, state, key)
        for i in range(units):
            row[i] = team.h[i]


@kernel
def learn_batch(integers, floats, together, key, values, signal, answers):
    """Lines 9-12 for each sample, then W[l] += alpha[l] * mean of the gradients, through Adam.

    together (7 * U * TOGETHER,) : room for what relaxes side by side, see `side_by_side`
    values (n * U,) : from `act_batch`
    signal (n,) : rewards G, or the answers A*
    answers : whether they are answers
    Returns the first sample and unit that diverged, (-1, -1) if none did.
    """
    team = read_team(integers, floats)
    side = side_by_side(team, together)
    first = team.count[PASSES] - signal.size  # number of the first sample
    clear_traces(team)
    for s in range(signal.size):
        if team.backprop:
            take(team, values, s, 1)
            backpropagate(team)
        elif team.proposal > 0.0:
            take(team, values, s, 1)
            climb(team, key, first + s, 0)
            local_packets(team)
        else:
            if s % TOGETHER == 0:
                take(side, values, s, min(TOGETHER, signal.size - s))
                relax(side, key, first + s, 0)
                local_packets(side)  # of a unit that did not explore g = 0, as h is mu exactly
            take_out(team, side, s % TOGETHER)
        scale_packets(team, worth(team, signal[s]) if answers else signal[s])
        bad = first_diverged(team)
        if bad >= 0:
            return s, bad
        trace(team)
    learn(team, 1.0 / signal.size, 0, np.inf)
    return -1, -1


@kernel
def take(team, values, first, n):
    """Values of the samples first ... first + n - 1 into a team; more than n repeat the last.

    values (samples * U,) : from `act_batch`
    """
    units = team.h.size // team.samples
    for s in range(team.samples):
        row = first + min(s, n - 1)
        for i in range(units):
            team.h[i * team.samples + s] = values[row * units + i]


@kernel
def take_out(team, side, s):
    """What a team has found of one of its samples, by itself."""
    for i in range(team.h.size):
        team.h[i] = side.h[i * side.samples + s]
        team.mu[i] = side.mu[i * side.samples + s]
        team.g[i] = side.g[i * side.samples + s]


@kernel
def worth(team, answer):
    """What the gradient of a Gaussian output is times, where the answer A* is known.

    (A* - mu[L]) / (A - mu[L]) from the values after relaxation (eq. 66); by backprop, where that of
    mu[L] is taken, 2 (A* - mu[L]), as for -(A* - mu[L])**2.
    """
    if team.backprop:
        return 2.0 * (answer - team.mu[-1])
    return (answer - team.mu[-1]) * gate(team.h[-1], team.mu[-1], team.gate_floor)
