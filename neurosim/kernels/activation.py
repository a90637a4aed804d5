"""Activation functions f and their slopes f' (Section 2: mu = f(p), slope = f'(p))."""

import numpy as np

from neurosim.jit import kernel
from neurosim.kernels.elementary import exp, log1p

SOFTPLUS, RELU, TANH, SIGMOID, LINEAR, SOFTMAX = range(6)
CODES = {"softplus": SOFTPLUS, "relu": RELU, "tanh": TANH, "sigmoid": SIGMOID, "linear": LINEAR}


@kernel
def softplus(p):
    """log(1 + e**p) and its slope, from one exponential."""
    return softplus_from(p, exp(-np.abs(p)))


@kernel
def softplus_from(p, t):
    """The same from t = e**-|p|."""
    slope = (1.0 if p >= 0.0 else t) / (1.0 + t)
    return (p if p > 0.0 else 0.0) + log1p(t), slope


@kernel
def sigmoid(p):
    """1 / (1 + e**-p) and its slope."""
    t = exp(-np.abs(p))
    r = 1.0 / (1.0 + t)
    return (1.0 if p >= 0.0 else t) * r, t * r * r


@kernel
def tanh(p):
    """tanh(p), to 3e-16 absolute, and its slope."""
    t = exp(-2.0 * np.abs(p))
    r = 1.0 / (1.0 + t)
    size = (1.0 - t) * r
    return (size if p >= 0.0 else -size), 4.0 * t * r * r


@kernel
def activate(code, p, mu, slope):
    """Mean mu = f(p) and slope f'(p) of a layer.  p, mu, slope (n,)."""
    n = p.size
    if code == SOFTPLUS:
        for i in range(n):  # in two passes, as one would keep more numbers than there are registers
            slope[i] = exp(-np.abs(p[i]))
        for i in range(n):
            mu[i], slope[i] = softplus_from(p[i], slope[i])
    elif code == SIGMOID:
        for i in range(n):
            mu[i], slope[i] = sigmoid(p[i])
    elif code == TANH:
        for i in range(n):
            mu[i], slope[i] = tanh(p[i])
    elif code == RELU:
        for i in range(n):
            mu[i] = 0.0 if p[i] <= 0.0 else p[i]
            slope[i] = 0.0 if p[i] <= 0.0 else 1.0
    else:
        for i in range(n):
            mu[i] = p[i]
            slope[i] = 1.0
