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


# The integers and floats that hold everything of a team, or everything that is shared.  A plain
# tuple: three of them cost a call of a kernel 0.4 us, three named ones 1.6 us.
Block = tuple[Integers, Floats]


class Team(NamedTuple):
    """One team of units (Section 2).  L layers, U units with the inputs, P parameters."""

    # layers; index 0 is the state
    size: Integers  # (L+1,) units of each layer
    unit: Integers  # (L+1,) index of the layer's first unit in the unit arrays
    param: Integers  # (L+1,) index of W[l]'s first entry in the parameter arrays; b[l] follows W[l]
    activation: Integers  # (L+1,) code of f, see kernels.activation
    alpha: Floats  # (L+1,) step size of the layer's parameters
    anneal_to: Floats  # (L+1,) fraction of alpha that annealing ends at
    hold: Integers  # (L+1,) steps from one decision of the layer's units to the next
    held: Integers  # (L+1,) steps since their last one, 0 where they decide at this step; -1: no
    # step of this episode yet
    # units; the first size[0] entries are the state
    h: Floats  # (U,) values; a softmax output is one-hot
    sampled: Floats  # (U,) values as sampled, before relaxation
    p: Floats  # (U,) potentials
    mu: Floats  # (U,) means; outcome probabilities of a softmax output
    slope: Floats  # (U,) f'(p)
    g: Floats  # (U,) error packets d log pi / d p
    f: Floats  # (U,) feedback, W' g of the layer above; of a team that climbs, values held
    var: Floats  # (U,) variances (units of h squared); 1 for inputs and softmax outcomes, 0 for
    # deterministic units
    noise: Floats  # (U,) standard normal noise of the last sample, 0 where a hidden unit does not
    # explore; one uniform for a softmax output
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
    proposal: float  # of hill climbing, in standard deviations; 0: relaxation by gradient
    trace_decay: float  # gamma * lambda
    gated: bool  # critic: gradients are times 1 / (A - mu), eq. (68), but for those by backprop
    backprop: bool  # gradients come down through the layers, eq. (10); else each layer has its own
    explore: float  # probability that a hidden unit explores at a time step
    gate_floor: float  # smallest |A - mu| in the gate
    stale_first_mean: bool  # first relaxation step with the means of before the weight update
    beta1: float
    beta2: float
    epsilon: float
    bias_correction_until: float  # number of the first update without bias correction
    samples: int  # side by side in each unit array, whose entries are (unit, sample); 1 but for a
    # batch that relaxes


class Wiring(NamedTuple):
    """Clocks, delays, losses and feedback of a team whose units are agents of their own.

    Unit arrays are those of `Team`, state included.  Times are integers, TICKS to a mean period.
    Fixed during a run; `timing` makes them from a model's settings.
    """

    # units
    layer: Integers  # (U,) the unit's layer
    agent: Integers  # (U,) 1 where the unit has a clock; 0 for the state and later outcomes
    period: Integers  # (U,) between the ticks of a periodic clock, 0: it never ticks
    phase: Integers  # (U,) first tick of a periodic clock
    lag: Integers  # (U,) from a tick time to its error tick
    delay: Integers  # (2U,) of the packets that the unit sends, values first
    broadcast_delay: Integers  # (U,) of the td_error on its way to the unit
    synapse_delay: Integers  # (2P,) or (0,) what a synapse adds; in the order of w, then of wt
    interval: Floats  # (U,) mean interval of a Poisson clock
    loss: Floats  # (2U,) probability that a packet sent by the unit is lost, values first
    broadcast_loss: Floats  # (U,) probability that a td_error does not reach the unit
    least_change: Floats  # (2U,) of a payload that is sent, values first
    # settings
    poisson: bool  # whether clocks are Poisson, or periodic
    errors_from: int  # first layer with error ticks
    window: int  # length of the relaxation window
    duration: int  # from T to the next observation: all has landed by then
    lookahead: int  # shortest delay of a packet
    packet_delay: int  # largest delay that a packet adds
    in_order: bool  # whether packets of a layer arrive in the order they were sent
    newest: bool  # whether a packet that was overtaken is discarded
    per_synapse: bool  # whether each synapse has a slot of its own
    loss_per_synapse: bool
    timer: int  # layer l samples at (l - 1) * timer at the latest; -1: dataflow
    feedback: int  # code, see kernels.engine
    silent: bool  # error 0 before the first value tick
    trace_after: int  # the trace is what it was at this own error tick; 0: at the window's end
    jitter: float  # of periodic clocks, in periods
    quantum: float  # 2**(53 - bits) + 1 for payloads of so many bits; 0: payloads as they are
    keep: float  # 1 - feedback_decay


class Mail(NamedTuple):
    """Mailboxes, clocks, packets on their way and counters of a team's agents.

    Projection l leads from layer l up to layer l + 1, its errors down again; a lane is a
    projection and a direction, values first: lane l, and lane L+1+l.
    """

    # of a unit as a sender
    sent: Integers  # (2U,) packets handed over in this pass, values first
    last: Floats  # (2U,) payload of the last one
    # slots that all receivers of a unit share
    heard: Floats  # (2U,) payload that arrived last, values first; the state's: the observation
    heard_time: Integers  # (2U,) when they were sent, values first
    heard_number: Integers  # (2U,) their numbers, -1: none of this pass
    sent_sum: Integers  # (2(L+1),) by lane, sum of heard_time
    fresh: Integers  # (2(L+1),) by lane, senders heard in this pass
    version: Integers  # (L+1,) by layer below, values that have arrived
    # slots of each synapse; P' = 2P where there are such, values first, in the order of w and wt
    slot: Floats  # (P',)
    slot_time: Integers  # (P',) when it was sent
    taken: Integers  # (P',) packets of this pass taken from the wire
    slot_number: Integers  # (P',) number of the packet held, -1: none of this pass
    slot_sum: Integers  # (2U,) sum of slot_time of each receiver, values first
    slot_fresh: Integers  # (2U,) senders heard in this pass
    # of a unit as a receiver
    moves: Integers  # (U,) value ticks made in this pass
    error_ticks: Integers  # (U,)
    updates: Integers  # (U,) Adam updates made
    seen: Integers  # (U,) version of the mailbox that mu is of; -1: none
    ready: Integers  # (U,) time at which the unit samples
    tagged_g: Floats  # (U,) last error packet at the trace_after-th error tick
    tagged_x: Floats  # (P,) or (0,) the mailbox then, in the order of w
    tagged_h: Floats  # (U,) the last value sent
    tagged_g_above: Floats  # (P,) or (0,) the errors in the mailbox, in the order of wt
    zt: Floats  # (P,) or (0,) traces of the feedback weights, in the order of wt
    mt: Floats  # (P,) or (0,) Adam's moments
    vt: Floats  # (P,) or (0,)
    # this pass
    ticks: Integers  # (E,) broadcasts, then each layer's ticks; see kernels.clock
    segment: Integers  # (L+2,) where these begin
    next: Integers  # (L+1,) the first of each that is still to come
    scratch: Integers  # (E,)
    digits: Integers  # (2**11,) for sorting them
    intervals: Floats  # (16,) of a Poisson clock, drawn together
    armed: Integers  # (B,) of the ticks gathered: whether it was armed
    p: Floats  # (B,) its potential
    f: Floats  # (B,) its feedback
    mu: Floats  # (B,) mean and slope for the potential
    slope: Floats  # (B,)
    start: Integers  # (2U,) of each sender's packets, values first
    wired: Integers  # (2U,) per synapse: how many each sender has put on the wire
    head: Integers  # (2(L+1),) by lane, first packet that has not arrived
    tail: Integers  # (2(L+1),) by lane, end of the packets sent
    packets: Integers  # (4 E',) arrival, sending time, unit << 20 | number, id
    payloads: Floats  # (E',)
    queue: Integers  # (E',) heap of packets where they do not arrive in order
    clock: Integers  # (4,) time of the observation, T, window's end; packets of the run
    counts: Integers  # (C,) of this pass, see kernels.traffic
    totals: Integers  # (C,) of all steps


class Log(NamedTuple):
    """Rows of what happened in a step; without room for any, nothing is written down."""

    time: Integers  # (R,)
    order: Integers  # (R,) rows are in the order of this, and of one value in the order written
    unit: Integers  # (R,)
    kind: Integers  # (R,) see kernels.traffic
    source: Integers  # (R,)
    packet: Integers  # (R,)
    value: Floats  # (R,)
    count: Integers  # type: ignore[assignment]  # (1,) rows so far


class Events(NamedTuple):
    """What happened to both teams in a step, in its order; see docs/file-format.md."""

    time: Integers  # (R,)
    team: NDArray[np.uint8]  # (R,) 0 the actor, 1 the critic
    unit: NDArray[np.int32]  # (R,)
    kind: NDArray[np.uint8]  # (R,)
    value: Floats  # (R,)
    source: NDArray[np.int32]  # (R,)
    cause: NDArray[np.int32]  # (R,) rows back to where the packet was sent; 0: sent here; -1


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


class Agent(NamedTuple):
    """One agent by itself, for its replay: K units of a layer, the outcomes of a softmax agent or
    one unit.  Of the n units below and the m above it has what its mailboxes hold.
    """

    # units
    h: Floats  # (K,) values
    p: Floats  # (K,) potentials
    mu: Floats  # (K,) means
    slope: Floats  # (K,) f'(p)
    g: Floats  # (K,) error packets
    var: Floats  # (K,) variances
    updates: Integers  # (K,) Adam updates made
    sampled: Floats  # (K,) values as sampled, before relaxation
    sampled_mean: Floats  # (K,) the means then
    # parameters
    w: Floats  # (K, n+1) a row of weights for each unit, then its bias
    z: Floats  # (K, n+1) traces
    m: Floats  # (K, n+1) Adam's first moments
    v: Floats  # (K, n+1) Adam's second moments
    wt: Floats  # (m,) feedback weights
    zt: Floats  # (m,) their traces
    mt: Floats  # (m,) their moments
    vt: Floats  # (m,)
    # mailboxes
    x: Floats  # (K, n) values
    heard: Integers  # (K, n) 1 where it is of this pass
    g_above: Floats  # (m,) error packets
    heard_above: Integers  # (m,) 1 where it is of this pass
    gate: Floats  # (1,) the critic's gate; nan before it has come, 1 for the actor
    # this pass
    sent: Integers  # (2, K) packets, values first
    last: Floats  # (2, K) payload of the last one
    tagged_g: Floats  # (K,) what the trace will take, see `Mail`
    tagged_x: Floats  # (K, n)
    tagged_h: Floats  # (K,)
    tagged_g_above: Floats  # (m,)
    times: Integers  # (E,) of its ticks
    intervals: Floats  # (16,) of a Poisson clock
    rows_kind: Integers  # (K+1,) rows that its latest event must have in a log
    rows_unit: Integers  # (K+1,) the outcome
    rows_packet: Integers  # (K+1,) 0 where a packet was sent, -1
    rows_value: Floats  # (K+1,)
    count: Integers  # type: ignore[assignment]  # see kernels.replay
    # settings
    unit: int  # its number in the team, from the first hidden unit; of a softmax agent the first
    layer: int
    top: bool  # whether it is of the output
    activation: int
    alpha: Floats  # (2,) step sizes, of its layer and of the one above
    anneal_to: Floats  # (2,)
    where: np.uint64
    T: float
    c: float
    trace_decay: float
    gated: bool
    gate_floor: float
    beta1: float
    beta2: float
    epsilon: float
    bias_correction_until: float


class Inbox(NamedTuple):
    """Rows of a log that an agent may read, and when and of what kind its own rows are."""

    first: Integers  # (S+1,) rows at which each step begins, and their end
    time: Integers  # (R,)
    kind: Integers  # (R,)
    unit: Integers  # (R,) outcome of the agent, -1: all
    source: Integers  # (R,) index of the sender in its layer
    own: Integers  # (R,) 1: a row of the agent's own; its value is nan here
    value: Floats  # (R,)


class Given(NamedTuple):
    """What an agent is given for S steps besides its inbox."""

    key: Integers  # (2,) of its random streams
    passes: int  # feed-forward passes before the first step
    iterations: int  # of the run, before the first step
    anneal_steps: float
    begin: Integers  # (S,) T, at which td_errors are broadcast and clocks start
    now: Integers  # (S,) time of the observation
    td_error: Floats  # (S,) that is broadcast
    learns: Integers  # (S,) 1 where units learn from it
    clears: Integers  # (S,) 1 where an episode begins
    # weights of units above, where feedback weights follow them: not local
    change_time: Integers  # (C,) in order
    change_source: Integers  # (C,) index of the unit above
    change_value: Floats  # (C,) its weight from then on


class Replayed(NamedTuple):
    """What an agent did in S steps, to be compared with its rows."""

    known: Integers  # (R,) 1 where a row of its own had to be there
    time: Integers  # (R,)
    packet: Integers  # (R,) 0 where a packet was sent, -1
    value: Floats  # (R,)
    mean: Floats  # (S, K) of the sample
    sampled: Floats  # (S, K)
    relaxed: Floats  # (S, K)
    told: Integers  # (S,) when it learned; the last time that there is: it did not
    weights: Floats  # (S, K, n) after each step, or (0, K, n)
    missed: Integers  # (M, 4) rows that are missing: step, kind, outcome, time
    missed_value: Floats  # (M,)
    count: Integers  # type: ignore[assignment]  # (1,) how many, those without room included


class Wires(NamedTuple):
    """Rows of a team's log, and beside them what its wires must have done with each packet."""

    first: Integers  # (S+1,) rows at which each step begins, and their end
    time: Integers  # (R,)
    kind: Integers  # (R,)
    unit: Integers  # (R,)
    source: Integers  # (R,)
    sends: Integers  # (R,) 1: a packet was sent
    origin: Integers  # (R,) row that sent the packet of this one
    value: Floats  # (R,)
    # of the wires
    sent: Integers  # (2U,) packets of this step by sender, values first
    wired: Integers  # (2U,) of them not lost as a whole
    newest: Integers  # (2U,) number of the newest packet delivered
    taken: Integers  # (2P,) per synapse: packets that have reached their receiver
    number: Integers  # (R,) of the packet that a row sent
    place: Integers  # (R,) of this packet on its sender's wire; -1: lost as a whole
    fates: Integers  # (R,) rows that say what became of it
    lacking: Integers  # (R,) rows about it that are missing
    # what a row about a packet must say
    known: Integers  # (R,) 1 where there must be such a row
    right_time: Integers  # (R,)
    right_kind: Integers  # (R,)
    right_unit: Integers  # (R,)
    right_source: Integers  # (R,)
    right_value: Floats  # (R,)
