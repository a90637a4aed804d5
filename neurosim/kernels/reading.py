"""The layout of a team's memory: where in its two blocks each array lies (plumbing).

Integers: a header, then `size`, `unit`, `param`, `activation`.  Floats: a header, then `alpha` and
`anneal_to`, then the unit arrays, then the parameter arrays.  The first hidden unit of each unit
array and the start of each parameter array lie at multiples of eight, which `room` aligns to 64
bytes: layers of a multiple of eight units then fill whole vector registers and cache lines, and
products take 2/3 of the time (measured).
"""

import numpy as np

from neurosim.jit import kernel
from neurosim.memory import Shared, Team

LAYERS, UNITS, PARAMETERS, N, GATED, STALE, WHERE, COUNT = range(8)  # COUNT: two entries
INTEGERS = 9
T, C, TRACE_DECAY, GATE_FLOOR, BETA1, BETA2, EPSILON, CORRECTION_UNTIL, FLOATS = range(9)
UNIT_ARRAYS = 9
PARAMETER_ARRAYS = 5


@kernel
def aligned(n):
    """n rounded up to a multiple of eight."""
    return (n + 7) // 8 * 8


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
        floats[TRACE_DECAY],
        integers[GATED] != 0,
        floats[GATE_FLOOR],
        integers[STALE] != 0,
        floats[BETA1],
        floats[BETA2],
        floats[EPSILON],
        floats[CORRECTION_UNTIL],
    )


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
