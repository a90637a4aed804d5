"""Counter-based random numbers: Philox 4x32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405).

A draw is a pure function of (key; event, unit, team, stream): the key is the run's mixed seed, the
counter names the draw.  Nothing depends on the order of events, on logging or on workers.
"""

import numpy as np

from neurosim.jit import kernel
from neurosim.kernels.elementary import cos_2pi, log

NOISE, INIT, ENVIRONMENT = range(3)  # streams; those of docs/asynchronous.md follow
CLOCK, UNIT, VALUE_DELAY, ERROR_DELAY, VALUE_LOSS, ERROR_LOSS = range(3, 9)
VALUE_SYNAPSE, ERROR_SYNAPSE, BROADCAST, FEEDBACK, EXPLORE = range(9, 14)
INPUT, TARGET = range(14, 16)  # of neurosim's own tasks
PROPOSAL = 16
MASK = np.uint64(0xFFFFFFFF)
M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)  # multipliers and
W0, W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # key increments of the published generator
SHIFT = np.uint64(32)
TWO_M52 = 2.0**-52


@kernel
def philox(c0, c1, c2, c3, k0, k1):
    """Ten rounds of Philox 4x32 on a counter and a key of 32-bit words held in uint64."""
    for _ in range(10):
        p0 = M0 * c0
        p1 = M1 * c2
        c0 = (p1 >> SHIFT) ^ c1 ^ k0
        c1 = p1 & MASK
        c2 = (p0 >> SHIFT) ^ c3 ^ k1
        c3 = p0 & MASK
        k0 = (k0 + W0) & MASK
        k1 = (k1 + W1) & MASK
    return c0, c1, c2, c3


@kernel
def draw(key, event, unit, where):
    """Four 32-bit words.  key (2,) of mixed_key; where = 256 * team + stream."""
    event = np.uint64(event)
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    return philox(event & MASK, event >> SHIFT, np.uint64(unit), where, k0, k1)


@kernel
def unit_interval(high, low):
    """A double strictly inside (0, 1) from two 32-bit words: (n + 1/2) / 2**52."""
    n = (np.int64(high) << 20) | (np.int64(low) >> 12)
    return (np.float64(n) + 0.5) * TWO_M52


@kernel
def uniform(key, event, unit, where):
    """Uniform number in (0, 1)."""
    a, b, _, _ = draw(key, event, unit, where)
    return unit_interval(a, b)


@kernel
def uniforms(key, events, unit, where, out):
    """Uniform numbers of one unit's events 0, 1, ..., events - 1 into out (events,)."""
    for i in range(events):
        out[i] = uniform(key, i, unit, where)


@kernel
def normal(key, event, unit, where):
    """Standard normal number (Box-Muller, one of the two)."""
    a, b, c, d = draw(key, event, unit, where)
    return np.sqrt(-2.0 * log(unit_interval(a, b))) * cos_2pi(unit_interval(c, d))


@kernel
def normals(key, event, where, out):
    """Standard normal number of each unit 0, 1, ... for one event into out (units,)."""
    for i in range(out.size):
        out[i] = normal(key, event, i, where)


@kernel
def integer(key, event, unit, where):
    """Uniform integer in [0, 2**63)."""
    a, b, _, _ = draw(key, event, unit, where)
    return np.int64(((a << SHIFT) | b) >> np.uint64(1))


def mixed_key(seed):
    """Philox key (2,) of a run's seed: splitmix64's finaliser, a bijection of the 64-bit integers,
    so different seeds never share a stream and neighbouring seeds have unrelated keys."""
    m = (1 << 64) - 1
    x = (seed + 0x9E3779B97F4A7C15) & m
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & m
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & m
    x ^= x >> 31
    return np.array([x & 0xFFFFFFFF, x >> 32], dtype=np.int64)
