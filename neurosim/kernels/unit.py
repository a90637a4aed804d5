"""What one unit computes, from its own state and its mailbox alone.

w, z, m, v and x are a unit's row of weights, their traces and moments, and the mailbox they meet;
fb, zt, mt, vt and g_above are its feedback weights, theirs, and the mailbox of error packets.  Sums
are taken in the order of layer.py, so that a unit alone computes the bits of a whole layer.
"""

import numpy as np

from neurosim.jit import part
from neurosim.kernels.activation import RELU, SIGMOID, SOFTPLUS, TANH, sigmoid, softplus, tanh
from neurosim.kernels.learning import adam, power


@part
def weigh(start, w, x):
    """start + sum_j w[j] x[j], in the order of j: p = b + w x, or the feedback 0 + fb g."""
    total = start
    for j in range(x.size):
        total += w[j] * x[j]
    return total


@part
def mean(activation, p):
    """mu = f(p) and slope f'(p) of a unit."""
    if activation == SOFTPLUS:
        return softplus(p)
    if activation == SIGMOID:
        return sigmoid(p)
    if activation == TANH:
        return tanh(p)
    if activation == RELU:
        return (0.0, 0.0) if p <= 0.0 else (p, 1.0)
    return p, 1.0


@part
def sample(mu, var, noise):
    """h ~ N(mu, var)."""
    return mu + np.sqrt(var) * noise


@part
def move(h, mu, var, c, feedback):
    """Value tick (eq. 69): h after one relaxation step with alpha_h = c var."""
    return h + c * ((mu - h) + var * feedback)


@part
def error_packet(h, mu, slope, var):
    """Error tick: g = e slope / var with e = h - mu."""
    return (h - mu) * slope / var


@part
def accumulate(z, x, g, decay):
    """Trace (line 19): z = gamma lambda z + g x.  z, x (n,); g with the gate in it."""
    for j in range(x.size):
        z[j] = decay * z[j] + g * x[j]


@part
def accumulate_feedback(z, g_above, factor, h, decay):
    """Trace of feedback weights: z = gamma lambda z + (gate g_above) h.  z, g_above (n,)."""
    for k in range(g_above.size):
        z[k] = decay * z[k] + (factor * g_above[k]) * h


@part
def moments(team, t):
    """What adam takes beside the gradient, at a unit's t-th update."""
    corrected = t < team.bias_correction_until
    correction1 = 1.0 - power(team.beta1, t) if corrected else 1.0
    correction2 = 1.0 - power(team.beta2, t) if corrected else 1.0
    return team.beta1, team.beta2, team.epsilon, correction1, correction2


@part
def update(w, z, m, v, td_error, alpha, moments, keep):
    """Broadcast of td_error (line 14), then the weights decay where keep is below 1."""
    adam(w, z, m, v, td_error, alpha, moments)
    if keep != 1.0:
        for j in range(w.size):
            w[j] *= keep
