"""Sums of neighbouring units, side by side in vector registers (plumbing).

A loop over inputs around a loop over units would store every unit's sum in memory and load it again
for each input.  Here the sums of a tile stay in registers until they are complete, which numba
cannot be told to do in Python; so each function has its body twice: in Python, which is what it
means, and as the instructions that numba puts in its place.  These are of vectors of eight numbers;
a processor with shorter ones takes several, to the same bits.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import lower_builtin, type_callable

INDEX, LANE = ir.IntType(64), ir.IntType(32)
WIDE, NARROW = 32, 8  # units of a tile


def wide(rows, x, out, first):
    """out[i] += sum_j rows[j, i] * x[j] for WIDE units from i = first on, in the order of j.

    rows (x.size * out.size,), x, out : arrays of one dimension without gaps.
    """
    _sum(rows, x, out, first, WIDE)


def narrow(rows, x, out, first):
    """The same for NARROW units."""
    _sum(rows, x, out, first, NARROW)


def single(rows, x, out, first):
    """The same for one unit."""
    _sum(rows, x, out, first, 1)


def _sum(rows, x, out, first, units):
    for i in range(first, first + units):
        for j in range(x.size):
            out[i] += rows[j * out.size + i] * x[j]


def _compile(tile, units, lanes):
    """Instructions for `tile`, in vectors of so many lanes."""

    @type_callable(tile)
    def _(context):
        return lambda rows, x, out, first: types.void

    @lower_builtin(tile, types.Array, types.Array, types.Array, types.Integer)
    def _(context, builder, signature, arguments):
        rows, x, out = (
            context.make_array(array)(context, builder, argument)
            for array, argument in zip(signature.args[:3], arguments[:3], strict=True)
        )
        first, number = arguments[3], context.get_data_type(signature.args[2].dtype)
        vector = ir.VectorType(number, lanes)
        nowhere = ir.Constant(vector, ir.Undefined)
        everywhere = ir.Constant(ir.VectorType(LANE, lanes), [0] * lanes)
        align = signature.args[2].dtype.bitwidth // 8

        def at(data, index):
            return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())

        places = [builder.add(first, INDEX(lanes * k)) for k in range(units // lanes)]
        sums = [cgutils.alloca_once(builder, vector) for _ in places]  # become registers
        for place, total in zip(places, sums, strict=True):
            builder.store(builder.load(at(out.data, place), align=align), total)
        n = builder.extract_value(out.shape, 0)
        with cgutils.for_range(builder, builder.extract_value(x.shape, 0)) as loop:
            value = builder.load(builder.gep(x.data, [loop.index]))
            spread = builder.insert_element(nowhere, value, LANE(0))
            spread = builder.shuffle_vector(spread, nowhere, everywhere)
            row = builder.mul(loop.index, n)
            for place, total in zip(places, sums, strict=True):
                weights = builder.load(at(rows.data, builder.add(row, place)), align=align)
                term = builder.fmul(weights, spread)
                builder.store(builder.fadd(builder.load(total), term), total)
        for place, total in zip(places, sums, strict=True):
            builder.store(builder.load(total), at(out.data, place), align=align)
        return context.get_dummy_value()


_compile(wide, WIDE, 8)
_compile(narrow, NARROW, 8)
_compile(single, 1, 1)
