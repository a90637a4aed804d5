"""The layout of a team's memory: where in its two blocks each array lies (plumbing).

Integers: a header, then `size`, `unit`, `param`, `activation`, `hold`, `held`.  Floats: a header,
then `alpha` and `anneal_to`, then the unit arrays, then the parameter arrays.  The first hidden
unit of each unit array and the start of each parameter array lie at multiples of sixteen, which
`room` aligns to 64 bytes or more: layers of a multiple of eight units then fill whole vector
registers and cache lines, and products take 2/3 of the time (measured).

What an asynchronous team has besides begins its integers with a table: the start and the end of
each field, in the order of the NamedTuple; a single number is an array of one.
"""

import numpy as np

from neurosim.jit import kernel, part
from neurosim.kernels.tile import TOGETHER
from neurosim.memory import Log, Mail, Shared, Team, Wiring

LAYERS, UNITS, PARAMETERS, N, GATED, STALE, BACKPROP, WHERE, COUNT = range(9)  # COUNT: two entries
INTEGERS = 10
LAYER_INTEGERS = 6  # arrays
T, C, PROPOSAL, TRACE_DECAY, GATE_FLOOR, EXPLORE, BETA1, BETA2, EPSILON = range(9)
CORRECTION_UNTIL, FLOATS = range(9, 11)
UNIT_ARRAYS = 9
FIRST = Team._fields.index("h")  # of them in a Team
LAST = FIRST + UNIT_ARRAYS
PARAMETER_ARRAYS = 5


@kernel
def aligned(n):
    """n rounded up to a multiple of sixteen: 64 bytes of singles, 128 of doubles."""
    return (n + 15) // 16 * 16


@kernel
def room(layers, units, parameters, inputs):
    """Floats before the first unit array, from one unit array to the next, from one parameter
    array to the next."""
    before = aligned(FLOATS + 2 * layers + inputs) - inputs
    return before, aligned(units), aligned(parameters)


@kernel
def read_team(integers, floats):
    """The team whose blocks these are."""
    layers, units, parameters = integers[LAYERS], integers[UNITS], integers[PARAMETERS]
    size = integers[INTEGERS : INTEGERS + layers]
    before, per_unit, per_parameter = room(layers, units, parameters, size[0])
    first = aligned(before + UNIT_ARRAYS * per_unit)
    return Team(
        size,
        integers[INTEGERS + layers : INTEGERS + 2 * layers],
        integers[INTEGERS + 2 * layers : INTEGERS + 3 * layers],
        integers[INTEGERS + 3 * layers : INTEGERS + 4 * layers],
        floats[FLOATS : FLOATS + layers],
        floats[FLOATS + layers : FLOATS + 2 * layers],
        integers[INTEGERS + 4 * layers : INTEGERS + 5 * layers],
        integers[INTEGERS + 5 * layers : INTEGERS + 6 * layers],
        floats[before + 0 * per_unit : before + 0 * per_unit + units],
        floats[before + 1 * per_unit : before + 1 * per_unit + units],
        floats[before + 2 * per_unit : before + 2 * per_unit + units],
        floats[before + 3 * per_unit : before + 3 * per_unit + units],
        floats[before + 4 * per_unit : before + 4 * per_unit + units],
        floats[before + 5 * per_unit : before + 5 * per_unit + units],
        floats[before + 6 * per_unit : before + 6 * per_unit + units],
        floats[before + 7 * per_unit : before + 7 * per_unit + units],
        floats[before + 8 * per_unit : before + 8 * per_unit + units],
        floats[first + 0 * per_parameter : first + 0 * per_parameter + parameters],
        floats[first + 1 * per_parameter : first + 1 * per_parameter + parameters],
        floats[first + 2 * per_parameter : first + 2 * per_parameter + parameters],
        floats[first + 3 * per_parameter : first + 3 * per_parameter + parameters],
        floats[first + 4 * per_parameter : first + 4 * per_parameter + parameters],
        integers[COUNT : COUNT + 2],
        np.uint64(integers[WHERE]),
        floats[T],
        integers[N],
        floats[C],
        floats[PROPOSAL],
        floats[TRACE_DECAY],
        integers[GATED] != 0,
        integers[BACKPROP] != 0,
        floats[EXPLORE],
        floats[GATE_FLOOR],
        integers[STALE] != 0,
        floats[BETA1],
        floats[BETA2],
        floats[EPSILON],
        floats[CORRECTION_UNTIL],
        1,
    )


@kernel
def side_by_side(team, values):
    """The team with unit arrays for TOGETHER samples: h, p, mu, slope, g, f and var, one after the
    other in `values`; it has no others."""
    n = team.h.size * TOGETHER
    none = values[:0]
    h, p, mu, slope = values[:n], values[n : 2 * n], values[2 * n : 3 * n], values[3 * n : 4 * n]
    g, f, var = values[4 * n : 5 * n], values[5 * n : 6 * n], values[6 * n : 7 * n]
    arrays = (h, none, p, mu, slope, g, f, var, none)
    return Team(*(team[:FIRST] + arrays + team[LAST:-1] + (TOGETHER,)))


@kernel
def read_shared(integers, floats):
    """What two teams share: integers (5,), floats (5,)."""
    return Shared(
        integers[0:2],
        integers[2:3],
        floats[0:1],
        floats[1:2],
        floats[2],
        floats[3],
        floats[4],
        integers[3] != 0,
        integers[4] != 0,
    )


@part
def read_wiring(i, f):
    """The wiring whose blocks these are."""
    return Wiring(
        i[i[0] : i[1]],  # layer
        i[i[2] : i[3]],  # agent
        i[i[4] : i[5]],  # period
        i[i[6] : i[7]],  # phase
        i[i[8] : i[9]],  # lag
        i[i[10] : i[11]],  # delay
        i[i[12] : i[13]],  # broadcast_delay
        i[i[14] : i[15]],  # synapse_delay
        f[i[16] : i[17]],  # interval
        f[i[18] : i[19]],  # loss
        f[i[20] : i[21]],  # broadcast_loss
        f[i[22] : i[23]],  # least_change
        i[i[24]] != 0,  # poisson
        i[i[26]],  # errors_from
        i[i[28]],  # window
        i[i[30]],  # duration
        i[i[32]],  # lookahead
        i[i[34]],  # packet_delay
        i[i[36]] != 0,  # in_order
        i[i[38]] != 0,  # newest
        i[i[40]] != 0,  # per_synapse
        i[i[42]] != 0,  # loss_per_synapse
        i[i[44]],  # timer
        i[i[46]],  # feedback
        i[i[48]] != 0,  # silent
        i[i[50]],  # trace_after
        f[i[52]],  # jitter
        f[i[54]],  # quantum
        f[i[56]],  # keep
    )


@part
def read_mail(i, f):
    """The mail whose blocks these are."""
    return Mail(
        i[i[0] : i[1]],  # sent
        f[i[2] : i[3]],  # last
        f[i[4] : i[5]],  # heard
        i[i[6] : i[7]],  # heard_time
        i[i[8] : i[9]],  # heard_number
        i[i[10] : i[11]],  # sent_sum
        i[i[12] : i[13]],  # fresh
        i[i[14] : i[15]],  # version
        f[i[16] : i[17]],  # slot
        i[i[18] : i[19]],  # slot_time
        i[i[20] : i[21]],  # taken
        i[i[22] : i[23]],  # slot_number
        i[i[24] : i[25]],  # slot_sum
        i[i[26] : i[27]],  # slot_fresh
        i[i[28] : i[29]],  # moves
        i[i[30] : i[31]],  # error_ticks
        i[i[32] : i[33]],  # updates
        i[i[34] : i[35]],  # seen
        i[i[36] : i[37]],  # ready
        f[i[38] : i[39]],  # tagged_g
        f[i[40] : i[41]],  # tagged_x
        f[i[42] : i[43]],  # tagged_h
        f[i[44] : i[45]],  # tagged_g_above
        f[i[46] : i[47]],  # zt
        f[i[48] : i[49]],  # mt
        f[i[50] : i[51]],  # vt
        i[i[52] : i[53]],  # ticks
        i[i[54] : i[55]],  # segment
        i[i[56] : i[57]],  # next
        i[i[58] : i[59]],  # scratch
        i[i[60] : i[61]],  # digits
        f[i[62] : i[63]],  # intervals
        i[i[64] : i[65]],  # armed
        f[i[66] : i[67]],  # p
        f[i[68] : i[69]],  # f
        f[i[70] : i[71]],  # mu
        f[i[72] : i[73]],  # slope
        i[i[74] : i[75]],  # start
        i[i[76] : i[77]],  # wired
        i[i[78] : i[79]],  # head
        i[i[80] : i[81]],  # tail
        i[i[82] : i[83]],  # packets
        f[i[84] : i[85]],  # payloads
        i[i[86] : i[87]],  # queue
        i[i[88] : i[89]],  # clock
        i[i[90] : i[91]],  # counts
        i[i[92] : i[93]],  # totals
    )


@part
def read_log(i, f):
    """The log whose blocks these are."""
    return Log(
        i[i[0] : i[1]],  # time
        i[i[2] : i[3]],  # order
        i[i[4] : i[5]],  # unit
        i[i[6] : i[7]],  # kind
        i[i[8] : i[9]],  # source
        i[i[10] : i[11]],  # packet
        f[i[12] : i[13]],  # value
        i[i[14] : i[15]],  # count
    )
