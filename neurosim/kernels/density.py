"""Sampling from pi_l and the error packets g = d log pi_l / d p_l (Section 2)."""

import numpy as np

from neurosim.jit import kernel
from neurosim.kernels.elementary import exp, log

SMALLEST_GATE = 2.2250738585072014e-308  # smallest normal double: its reciprocal is finite


@kernel
def sample_gaussian(mu, var, noise, h):
    """h = mu + sqrt(var) * noise, that is h ~ N(mu, var).  All (n,)."""
    for i in range(h.size):
        h[i] = mu[i] + np.sqrt(var[i]) * noise[i]


@kernel
def softmax(p, temperature, probability, samples):
    """probability = softmax(p / T) of each of `samples` samples.  p, probability (K * samples,)."""
    for s in range(samples):
        largest = p[s]
        for k in range(s + samples, p.size, samples):
            largest = p[k] if p[k] > largest else largest
        total = 0.0
        for k in range(s, p.size, samples):
            probability[k] = exp((p[k] - largest) / temperature)
            total += probability[k]
        for k in range(s, p.size, samples):
            probability[k] /= total


@kernel
def sample_softmax(probability, u, h):
    """h = one-hot of the first outcome whose cumulative probability exceeds u in (0, 1)."""
    chosen = h.size - 1
    cumulative = 0.0
    for k in range(h.size - 1):
        cumulative += probability[k]
        if u < cumulative:
            chosen = k
            break
    for k in range(h.size):
        h[k] = 1.0 if k == chosen else 0.0


@kernel
def packets_gaussian(h, mu, slope, var, g):
    """g = e * slope / var with e = h - mu.  All (n,)."""
    for i in range(h.size):
        g[i] = (h[i] - mu[i]) * slope[i] / var[i]


@kernel
def packets_softmax(h, probability, temperature, g):
    """g = (onehot(A) - softmax(p / T)) / T.  h, probability, g (K,)."""
    for k in range(h.size):
        g[k] = (h[k] - probability[k]) / temperature


@kernel
def energy_gaussian(h, mu, var):
    """-log pi_l of a layer without its constant, the sum of (h - mu)**2 / (2 var).  All (n,)."""
    total = 0.0
    for i in range(h.size):
        e = h[i] - mu[i]
        total += 0.5 * (e * e / var[i])
    return total


@kernel
def energy_softmax(h, p, temperature):
    """-log pi_L of the outcome taken, log(sum_k exp(p[k] / T)) - p[A] / T.  h, p (K,)."""
    top = p[0]
    for k in range(1, p.size):
        top = p[k] if p[k] > top else top
    total = 0.0
    taken = 0.0
    for k in range(p.size):
        x = (p[k] - top) / temperature
        total += exp(x)
        taken += h[k] * x
    return log(total) - taken


@kernel
def gate(action, mu, floor):
    """1 / (A - mu) of eq. (68), with |A - mu| held at or above the floor."""
    difference = action - mu
    size = np.abs(difference)
    floor = SMALLEST_GATE if floor < SMALLEST_GATE else floor
    if size < floor:
        difference = floor if difference >= 0.0 else -floor
    return 1.0 / difference
