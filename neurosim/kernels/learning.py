"""Eligibility traces and Adam, on the parameters of one layer or one unit."""

import numpy as np

from neurosim.jit import kernel


@kernel
def trace_weights(z, x, g, decay):
    """z = gamma lambda z + outer(g, x) (Algorithm 2 line 19).  z flat (g.size * x.size,)."""
    n = x.size
    for i in range(g.size):
        row = z[i * n : (i + 1) * n]
        for j in range(n):
            row[j] = decay * row[j] + g[i] * x[j]


@kernel
def trace_biases(z, g, decay):
    """z = gamma lambda z + g, the bias being a weight of a constant input 1.  z, g (n,)."""
    for i in range(z.size):
        z[i] = decay * z[i] + g[i]


@kernel
def annealed(alpha, anneal_to, steps, anneal_steps):
    """Step size after `steps` iterations: linear from alpha to anneal_to * alpha (Appendix D)."""
    part = steps / anneal_steps
    part = 1.0 if part > 1.0 else part
    return alpha * (1.0 - (1.0 - anneal_to) * part)


@kernel
def power(beta, n):
    """beta**n by squaring (plumbing; the C library's differs between machines)."""
    result = 1.0
    while n > 0:
        if n & 1:
            result *= beta
        beta *= beta
        n >>= 1
    return result


@kernel
def adam(w, z, m, v, td_error, alpha, moments):
    """W += alpha m_hat / (sqrt(v_hat) + epsilon) for the gradient td_error z (line 14).

    w, z, m, v (n,); moments = (beta1, beta2, epsilon, 1 - beta1**t, 1 - beta2**t), the last two
    1 where the bias correction is off (Kingma and Ba 2015, Algorithm 1, ascending).
    """
    beta1, beta2, epsilon, correction1, correction2 = moments
    number = w.dtype.type  # a double among singles would make all of them doubles
    step, scale = number(alpha / correction1), number(1.0 / correction2)
    rest1, rest2, td_error = number(1.0 - beta1), number(1.0 - beta2), number(td_error)
    for i in range(w.size):
        gradient = td_error * z[i]
        m[i] = beta1 * m[i] + rest1 * gradient
        v[i] = beta2 * v[i] + rest2 * (gradient * gradient)
        w[i] += step * m[i] / (np.sqrt(v[i] * scale) + epsilon)
