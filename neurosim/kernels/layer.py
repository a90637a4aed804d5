"""Products of a layer's weights with its inputs and with the error packets from above.

Every sum is taken in the order of its inputs, starting from the bias (or from zero), one rounded
product and one rounded addition at a time.  Outputs go side by side, a tile of them at a time.
"""

from neurosim.jit import kernel
from neurosim.kernels.tile import NARROW, WIDE, narrow, single, wide


@kernel
def accumulate_map(rows, x, out):
    """out[i] += sum_j rows[j, i] * x[j], in the order of j.  rows (x.size * out.size,)."""
    i = 0
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
def potential(wt, b, x, p):
    """p = W x + b (Section 2).  wt: W transposed, (n_in * n_out,); x (n_in,); p, b (n_out,)."""
    for i in range(p.size):
        p[i] = b[i]
    accumulate_map(wt, x, p)


@kernel
def feedback(w, g, f):
    """f = W' g (eq. 69).  w: W of the layer above, flat (n_above * n,); g (n_above,); f (n,)."""
    for j in range(f.size):
        f[j] = 0.0
    accumulate_map(w, g, f)


@kernel
def transpose(w, n_out, n_in, wt):
    """wt = W transposed, both flat (plumbing).  Gathering is quicker than scattering."""
    for j in range(n_in):
        column = w[j:]
        row = wt[j * n_out : (j + 1) * n_out]
        for i in range(n_out):
            row[i] = column[i * n_in]
