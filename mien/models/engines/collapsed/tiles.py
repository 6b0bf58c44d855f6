"""The one inner loop: subtract products of rows from a small tile that stays in registers.

    target[i, j] −= Σ_r x_r[at + i] · x_r[place + j]        i < 1 or 4;  j < 8 or 16;  r < rows

numba's own vectorisation checks for every call whether source and target overlap and finishes with single numbers;
for rows of some fifty numbers that takes longer than the arithmetic. Here the loop is written as LLVM vectors of
eight, so that the tile is loaded and stored once for all rows. Source and target must not overlap.
"""

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["subtract_block"]

LANES = 8
_double = ir.DoubleType()
_vector = ir.VectorType(_double, LANES)
_int = ir.IntType(64)
_FUSED = ("contract",)  # multiply and add in one instruction


def _address(builder, base, index):
    return builder.gep(base, [index], source_etype=_double)


def _load(builder, base, index):
    return builder.load(_address(builder, base, index), align=8, typ=_vector)


def _splat(builder, value):
    single = builder.insert_element(ir.Constant(_vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(single, ir.Constant(_vector, ir.Undefined), zeros)


def _make_tile(height: int, vectors: int) -> Any:
    """The intrinsic for a tile of `height` rows and `vectors` · 8 columns."""

    @intrinsic
    def tile(typing, rows_of, source, stride, rows, at, place, tiles_of, target, wide):  # noqa: PLR0913, PLR0917
        signature = types.void(rows_of, *[types.int64] * 5, tiles_of, *[types.int64] * 2)

        def codegen(context, builder, signature, arguments):
            base = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            result = context.make_array(signature.args[6])(context, builder, arguments[6]).data
            source, stride, rows, at, place = arguments[1:6]
            target, wide = arguments[7:]
            sums = [
                [
                    cgutils.alloca_once_value(builder, ir.Constant(_vector, [0.0] * LANES))
                    for _ in range(vectors)
                ]
                for _ in range(height)
            ]
            with cgutils.for_range(builder, rows) as loop:
                row = builder.add(source, builder.mul(loop.index, stride))
                left = builder.add(row, at)
                right = builder.add(row, place)
                columns = [
                    _load(builder, base, builder.add(right, ir.Constant(_int, LANES * v)))
                    for v in range(vectors)
                ]
                for i in range(height):
                    number = builder.load(
                        _address(builder, base, builder.add(left, ir.Constant(_int, i))), typ=_double
                    )
                    factor = _splat(builder, number)
                    for v in range(vectors):
                        product = builder.fmul(factor, columns[v], flags=_FUSED)
                        total = builder.fadd(builder.load(sums[i][v]), product, flags=_FUSED)
                        builder.store(total, sums[i][v])
            for i in range(height):
                row = builder.add(target, builder.mul(wide, ir.Constant(_int, i)))
                for v in range(vectors):
                    index = builder.add(row, ir.Constant(_int, LANES * v))
                    after = builder.fsub(_load(builder, result, index), builder.load(sums[i][v]))
                    pointer = builder.bitcast(_address(builder, result, index), _vector.as_pointer())
                    builder.store(after, pointer, align=8)
            return context.get_dummy_value()

        return signature, codegen

    return tile


_four_by_sixteen, _four_by_eight = _make_tile(4, 2), _make_tile(4, 1)
_one_by_sixteen, _one_by_eight = _make_tile(1, 2), _make_tile(1, 1)


# One signature: numba would compile it again for every combination of arguments that are constants.
@njit(
    "void(float64[::1], int64, int64, int64, int64, int64, int64, int64, float64[::1], int64, int64)",
    cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"},
)  # fmt: skip
def subtract_block(rows_of, source, stride, rows, at, count, place, length, tiles_of, target, wide):  # noqa: PLR0913, PLR0917
    """tiles_of[target + i·wide + j] −= Σ_r x_r[at + i] · x_r[place + j] for i < count, j < length.

    x_r are `rows` rows of `rows_of` that begin at source + r·stride; `rows_of` and `tiles_of` may be one array. Columns
    beyond a multiple of eight are done one by one.
    """
    i = 0
    while i < count:
        height = 4 if count - i >= 4 else 1
        to, x = target + i * wide, at + i
        j = 0
        while length - j >= 16:
            if height == 4:
                _four_by_sixteen(rows_of, source, stride, rows, x, place + j, tiles_of, to + j, wide)
            else:
                _one_by_sixteen(rows_of, source, stride, rows, x, place + j, tiles_of, to + j, wide)
            j += 16
        if length - j >= 8:
            if height == 4:
                _four_by_eight(rows_of, source, stride, rows, x, place + j, tiles_of, to + j, wide)
            else:
                _one_by_eight(rows_of, source, stride, rows, x, place + j, tiles_of, to + j, wide)
            j += 8
        for k in range(height if j < length else 0):
            for m in range(j, length):
                total = 0.0
                for r in range(rows):
                    row = source + r * stride
                    total += rows_of[row + x + k] * rows_of[row + place + m]
                tiles_of[to + k * wide + m] -= total
        i += height
