"""Samples of neurosim's own tasks: sample number n is a function of (key; n) alone.

Arrays of a batch are flat, sample after sample; `where` is the stream, as in `rng.draw`.
"""

from neurosim.jit import kernel
from neurosim.kernels.layer import accumulate_map
from neurosim.kernels.rng import draw, normals


@kernel
def fair_bits(key, event, where, out):
    """Independent bits 0.0 or 1.0 with equal probability into out (n,), 128 from each draw."""
    a, b, c, d = draw(key, event, 0, where)
    for i in range(out.size):
        if i > 0 and i % 128 == 0:
            a, b, c, d = draw(key, event, i // 128, where)
        elif i > 0 and i % 32 == 0:
            a, b, c, d = b, c, d, a
        out[i] = 1.0 if (a >> (i % 32)) % 2 == 1 else 0.0


@kernel
def multiplexer(key, first, where, k, low, inputs, answers):
    """Samples first, first + 1, ... of the k-bit multiplexer (Section 5.1, Appendix D).

    inputs (n * (k + 2**k),) : k address bits, most significant first, then the data; `low` or 1
    answers (n,) : the data bit at that address, 0 or 1
    """
    width = inputs.size // answers.size
    for s in range(answers.size):
        x = inputs[s * width : (s + 1) * width]
        fair_bits(key, first + s, where, x)
        address = 0
        for i in range(k):
            address = 2 * address + (1 if x[i] == 1.0 else 0)
        answers[s] = 1 if x[k + address] == 1.0 else 0
        for i in range(width):
            x[i] = 1.0 if x[i] == 1.0 else low


@kernel
def regression(key, first, where, target, hidden, inputs, answers):
    """Samples first, first + 1, ... of the scalar regression (Section 5.2).

    target : wt (n_in * n_hidden,), input by input, and v (n_hidden,) of the target network
    hidden (n_hidden,) : scratch
    inputs (n * n_in,) : standard normal
    answers (n,) : relu(v' relu(W x)), see the errata
    """
    wt, v = target
    width = inputs.size // answers.size
    for s in range(answers.size):
        x = inputs[s * width : (s + 1) * width]
        normals(key, first + s, where, x)
        for j in range(hidden.size):
            hidden[j] = 0.0
        accumulate_map(wt, x, hidden)
        total = 0.0
        for j in range(hidden.size):
            total += v[j] * (hidden[j] if hidden[j] > 0.0 else 0.0)
        answers[s] = total if total > 0.0 else 0.0
