"""Products of a layer's weights with its inputs and with the error packets from above.

Every sum is taken in the order of its inputs, starting from the bias (or from zero), one rounded
product and one rounded addition at a time.  Outputs go side by side, a tile of them at a time.
"""

from neurosim.jit import kernel
from neurosim.kernels.tile import (
    BROAD,
    NARROW,
    TOGETHER,
    WIDE,
    broad,
    narrow,
    one,
    several,
    single,
    wide,
)


@kernel
def accumulate_map(rows, x, out):
    """out[i] += sum_j rows[j, i] * x[j], in the order of j.  rows (x.size * out.size,)."""
    i = 0
    while i + BROAD <= out.size:
        broad(rows, x, out, i)
        i += BROAD
    while i + WIDE <= out.size:
        wide(rows, x, out, i)
        i += WIDE
    while i + NARROW <= out.size:
        narrow(rows, x, out, i)
        i += NARROW
    while i < out.size:
        single(rows, x, out, i)
        i += 1


@kernel
def accumulate_map_together(rows, x, out):
    """The same of TOGETHER samples: out[i, s] += sum_j rows[i, j] * x[j, s], in the order of j."""
    n, i = out.size // TOGETHER, 0
    while i + NARROW <= n:
        several(rows, x, out, i)
        i += NARROW
    while i < n:
        one(rows, x, out, i)
        i += 1


@kernel
def potential(rows, b, x, p, samples):
    """p = W x + b (Section 2), of each of `samples` samples: one, or TOGETHER.

    rows : W transposed if there is one sample, else W; flat.
    b (n_out,); x (n_in * samples,); p (n_out * samples,).
    """
    if samples == 1:
        for i in range(p.size):
            p[i] = b[i]
        accumulate_map(rows, x, p)
    else:
        for i in range(p.size):
            p[i] = b[i // samples]
        accumulate_map_together(rows, x, p)


@kernel
def feedback(rows, g, f, samples):
    """f = W' g (eq. 69) for the weights W of the layer above.

    rows : W if there is one sample, else W transposed; flat.
    g (n_above * samples,); f (n * samples,).
    """
    for j in range(f.size):
        f[j] = 0.0
    if samples == 1:
        accumulate_map(rows, g, f)
    else:
        accumulate_map_together(rows, g, f)


@kernel
def transpose(w, n_out, n_in, wt):
    """wt = W transposed, both flat (plumbing).  Gathering is quicker than scattering.

    Of long rows eight are gathered from at a time: each cache line holds eight of their numbers.
    """
    at_once = NARROW if n_in >= BROAD else n_out
    for first in range(0, n_out, at_once):
        last = min(first + at_once, n_out)
        for j in range(n_in):
            column = w[first * n_in + j :]
            row = wt[j * n_out + first : j * n_out + last]
            for i in range(row.size):
                row[i] = column[i * n_in]
