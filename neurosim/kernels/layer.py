"""Products of a layer's weights with its inputs and with the error packets from above.

Every sum is taken in the order of its inputs, starting from the bias (or from zero), one rounded
product and one rounded addition at a time.  The outer loop runs over inputs and the inner over
outputs, so that a vector of outputs moves together; eight inputs share one pass over the outputs.
"""

from neurosim.jit import kernel


@kernel
def accumulate_map(rows, x, out):
    """out[i] += sum_j rows[j, i] * x[j], in the order of j.  rows (x.size * out.size,)."""
    n = out.size
    m = x.size
    j = 0
    while j + 8 <= m:
        r0 = rows[j * n : (j + 1) * n]
        r1 = rows[(j + 1) * n : (j + 2) * n]
        r2 = rows[(j + 2) * n : (j + 3) * n]
        r3 = rows[(j + 3) * n : (j + 4) * n]
        r4 = rows[(j + 4) * n : (j + 5) * n]
        r5 = rows[(j + 5) * n : (j + 6) * n]
        r6 = rows[(j + 6) * n : (j + 7) * n]
        r7 = rows[(j + 7) * n : (j + 8) * n]
        x0, x1, x2, x3, x4, x5, x6, x7 = (
            x[j],
            x[j + 1],
            x[j + 2],
            x[j + 3],
            x[j + 4],
            x[j + 5],
            x[j + 6],
            x[j + 7],
        )
        for i in range(n):
            a = out[i] + r0[i] * x0
            a = a + r1[i] * x1
            a = a + r2[i] * x2
            a = a + r3[i] * x3
            a = a + r4[i] * x4
            a = a + r5[i] * x5
            a = a + r6[i] * x6
            out[i] = a + r7[i] * x7
        j += 8
    while j < m:
        row = rows[j * n : (j + 1) * n]
        xj = x[j]
        for i in range(n):
            out[i] += row[i] * xj
        j += 1


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
