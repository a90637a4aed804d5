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
BROAD, WIDE, NARROW = 128, 32, 8  # units of a tile
TOGETHER = 8  # samples side by side, where a kernel works on several at once


def broad(rows, x, out, first):
    """out[i] += sum_j rows[j, i] * x[j] for BROAD units from i = first on, in the order of j.

    rows (x.size * out.size,), x, out : arrays of one dimension without gaps.
    """
    _sum(rows, x, out, first, BROAD)


def wide(rows, x, out, first):
    """The same for WIDE units."""
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


def several(rows, x, out, first):
    """out[i, s] += sum_j rows[i, j] * x[j, s] for NARROW units from i = first on and TOGETHER
    samples s, in the order of j.

    rows (n_out * n_in,), x (n_in * TOGETHER,), out (n_out * TOGETHER,) : flat.
    """
    _sum_together(rows, x, out, first, NARROW)


def one(rows, x, out, first):
    """The same for one unit."""
    _sum_together(rows, x, out, first, 1)


def _sum_together(rows, x, out, first, units):
    n = x.size // TOGETHER
    for i in range(first, first + units):
        for j in range(n):
            for s in range(TOGETHER):
                out[i * TOGETHER + s] += rows[i * n + j] * x[j * TOGETHER + s]


def _compile(tile, sums, lanes, together=False):
    """Instructions for `tile`: so many sums under way, in vectors of so many lanes.

    They are a function of their own: written wherever a tile is used, they took a sixth more time
    to compile and no less to run (measured).

    together : whether the lanes are samples; else they are units.
    """

    @type_callable(tile)
    def _(context):
        return lambda rows, x, out, first: types.void

    @lower_builtin(tile, types.Array, types.Array, types.Array, types.Integer)
    def _(context, builder, signature, arguments):
        rows, x, out = (
            context.make_array(array)(context, builder, argument)
            for array, argument in zip(signature.args[:3], arguments[:3], strict=True)
        )
        n_in, n_out = (builder.extract_value(array.shape, 0) for array in (x, out))
        values = [rows.data, x.data, out.data, arguments[3], n_in, n_out]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        name = f"neurosim.{tile.__name__}.{signature.args[2].dtype}"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        if function.is_declaration:
            function.linkage = "linkonce_odr"
            function.attributes.add("noinline")
            inside = ir.IRBuilder(function.append_basic_block())
            _sums(inside, *function.args, sums, lanes, together)
            inside.ret_void()
        builder.call(function, values)
        return context.get_dummy_value()


def _sums(builder, rows, x, out, first, n_in, n_out, sums, lanes, together):
    """The instructions.  rows, x, out : pointers to their numbers; n_in, n_out : of x and out."""
    number = out.type.pointee
    vector, lane = ir.VectorType(number, lanes), INDEX(lanes)
    nowhere = ir.Constant(vector, ir.Undefined)
    zeros = ir.Constant(ir.VectorType(LANE, lanes), [0] * lanes)
    align = 4 if number == ir.FloatType() else 8

    def at(data, index):
        return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())

    def everywhere(data, index):
        value = builder.load(builder.gep(data, [index]))
        spread = builder.insert_element(nowhere, value, LANE(0))
        return builder.shuffle_vector(spread, nowhere, zeros)

    if together:
        n_in = builder.sdiv(n_in, lane)
        units = [builder.add(first, INDEX(k)) for k in range(sums)]
        starts = [builder.mul(unit, n_in) for unit in units]
        places = [builder.mul(unit, lane) for unit in units]
    else:
        places = [builder.add(first, INDEX(lanes * k)) for k in range(sums)]
    totals = [cgutils.alloca_once(builder, vector) for _ in places]  # become registers
    for place, total in zip(places, totals, strict=True):
        builder.store(builder.load(at(out, place), align=align), total)
    with cgutils.for_range(builder, n_in) as loop:
        if together:
            shared = builder.load(at(x, builder.mul(loop.index, lane)), align=align)
            own = [everywhere(rows, builder.add(start, loop.index)) for start in starts]
        else:
            shared = everywhere(x, loop.index)
            row = builder.mul(loop.index, n_out)
            own = [builder.load(at(rows, builder.add(row, place)), align=align) for place in places]
        for factor, total in zip(own, totals, strict=True):
            term = builder.fmul(factor, shared)
            builder.store(builder.fadd(builder.load(total), term), total)
    for place, total in zip(places, totals, strict=True):
        builder.store(builder.load(total), at(out, place), align=align)


_compile(broad, BROAD // 8, 8)
_compile(wide, WIDE // 8, 8)
_compile(narrow, NARROW // 8, 8)
_compile(single, 1, 1)
_compile(several, NARROW, TOGETHER, together=True)
_compile(one, 1, TOGETHER, together=True)
