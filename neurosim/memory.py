"""The memory of an agent: flat arrays, owned by Python, written in place by the kernels.

One memory, two readings: a layer is a slice of the unit arrays, a unit is one index of them and one
row of the parameter arrays.  Symbols are the paper's.  All arrays of a team are slices of one block
of integers and one of floats, because a call from Python costs 0.1 us for each array it passes; see
kernels.reading for the layout.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Block(NamedTuple):
    """The two blocks that hold everything of a team, or everything that is shared."""

    integers: Integers
    floats: Floats


class Team(NamedTuple):
    """One team of units (Section 2).  L layers, U units with the inputs, P parameters."""

    # layers; index 0 is the state
    size: Integers  # (L+1,) units of each layer
    unit: Integers  # (L+1,) index of the layer's first unit in the unit arrays
    param: Integers  # (L+1,) index of W[l]'s first entry in the parameter arrays; b[l] follows W[l]
    activation: Integers  # (L+1,) code of f, see kernels.activation
    alpha: Floats  # (L+1,) step size of the layer's parameters
    anneal_to: Floats  # (L+1,) fraction of alpha that annealing ends at
    # units; the first size[0] entries are the state
    h: Floats  # (U,) values; a softmax output is one-hot
    sampled: Floats  # (U,) values as sampled, before relaxation
    p: Floats  # (U,) potentials
    mu: Floats  # (U,) means; outcome probabilities of a softmax output
    slope: Floats  # (U,) f'(p)
    g: Floats  # (U,) error packets d log pi / d p
    f: Floats  # (U,) feedback, W' g of the layer above
    var: Floats  # (U,) variances (units of h squared); 1 for inputs and softmax outcomes
    noise: Floats  # (U,) standard normal noise of the last sample; one uniform for a softmax output
    # parameters: per layer W (n_out, n_in) row by row, then b
    w: Floats  # (P,) weights and biases
    wt: Floats  # (P,) W of each layer transposed, at the same offsets
    z: Floats  # (P,) eligibility traces
    m: Floats  # (P,) Adam's first moments
    v: Floats  # (P,) Adam's second moments
    count: Integers  # type: ignore[assignment]  # (2,) feed-forward passes made, Adam updates made
    # settings
    where: np.uint64  # 256 * team + stream, the last word of the noise counter
    T: float  # temperature of a softmax output, divides the potentials
    N: int  # relaxation steps
    c: float  # relaxation step, alpha_h = c * var
    trace_decay: float  # gamma * lambda
    gated: bool  # critic: gradients are multiplied by 1 / (A - mu), eq. (68)
    gate_floor: float  # smallest |A - mu| in the gate
    stale_first_mean: bool  # first relaxation step with the means of before the weight update
    beta1: float
    beta2: float
    epsilon: float
    bias_correction_until: float  # number of the first update without bias correction


class Shared(NamedTuple):
    """What the two teams of an agent share: the broadcast scalar and the counters behind it."""

    key: Integers  # (2,) Philox key of the run's seed, 32-bit words
    steps: Integers  # (1,) agent iterations made in this run
    value: Floats  # (1,) critic's mean at its last feed-forward pass, mu(S)
    td_error: Floats  # (1,) the last td_error broadcast
    gamma: float  # discount rate
    reward_bound: float  # rewards are held within +- this for learning
    anneal_steps: float  # iterations after which alpha has reached anneal_to
    update_at_reset: bool  # first step of an episode: update with td_error 0
    terminal_iteration: bool  # one more iteration on the last state of an episode
