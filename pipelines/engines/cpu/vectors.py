"""The inner loops of rendering as explicit vectors of LLVM's portable kind, for any processor.

LLVM's loop vectorizer handles each of them badly: it does not find a transposition at all, and for rows of a few hundred
pixels the tests for overlap before a loop and the scalar rest after it cost as much as the loop (measured on an AVX2
core: transposing bytes 18 times, weighted sums of rows 2.3 to 3 times, blur passes 3 times slower than here). No fast-math
flags and no processor's own instructions: the same bits everywhere.

These functions take addresses and check nothing. `inside` is how their callers keep them within arrays: it compiles to
nothing, and to a check where NUMBA_BOUNDSCHECK is set. Where a length is no multiple of the lanes, the last block overlaps
the one before it, so nothing outside [0, n) is touched; n must be at least the lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .cache import kernel

I8, I32, I64, F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
BITS = 22
"""Pillow's weights are multiples of 2**-22."""


def vector(kind: Any, lanes: int, value: Any = None) -> Any:
    """A vector type; with a value (a list, or one for all lanes), a constant of it."""
    form = ir.VectorType(kind, lanes)
    if value is None:
        return form
    return ir.Constant(form, value if isinstance(value, list) else [value] * lanes)


def splat(builder: Any, value: Any, lanes: int) -> Any:
    none = ir.Constant(vector(value.type, lanes), ir.Undefined)
    one = builder.insert_element(none, value, ir.Constant(I32, 0))
    return builder.shuffle_vector(one, none, vector(I32, lanes, 0))


def load(builder: Any, address: Any, kind: Any, align: int) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)


def store_vector(builder: Any, value: Any, address: Any, align: int) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=align)


def _block_starts(builder: Any, n: Any, lanes: int) -> Any:
    """A loop over the first element of each block of lanes that together cover [0, n)."""
    blocks = builder.sdiv(builder.add(n, I64(lanes - 1)), I64(lanes))
    last = builder.sub(n, I64(lanes))
    with cgutils.for_range(builder, blocks) as block:
        start = builder.mul(block.index, I64(lanes))
        yield builder.select(builder.icmp_signed("<", start, last), start, last)


def of_addresses(count: int, build: Callable[..., None]) -> Any:
    """An intrinsic of `count` int64 arguments and no result."""
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        build(builder, *args)
        return context.get_dummy_value()

    signature = types.none(*[types.int64] * count)
    if count == 4:
        return intrinsic(lambda context, a, b, c, d: (signature, code))
    if count == 5:
        return intrinsic(lambda context, a, b, c, d, e: (signature, code))
    if count == 6:
        return intrinsic(lambda context, a, b, c, d, e, f: (signature, code))
    if count == 9:
        return intrinsic(lambda context, a, b, c, d, e, f, g, h, i: (signature, code))
    return intrinsic(lambda context, a, b, c, d, e, f, g: (signature, code))


@intrinsic
def address(context: Any, array: Any) -> Any:
    """Of an array's first element."""
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(data, I64)

    return types.int64(array), code


@kernel
def inside(array: Any, row: int, column: int) -> Any:
    """An element that nobody wants; under NUMBA_BOUNDSCHECK an IndexError where array (rows, columns) has no such one, or an
    index is negative."""
    return array[np.uint64(row), np.uint64(column)]


# ---- weighted sums of rows of bytes --------------------------------------------------------------------------------


def _weighted(lanes: int) -> Any:
    def build(builder: Any, source: Any, stride: Any, count: Any, weights: Any, apart: Any, out: Any, n: Any) -> None:
        for start in _block_starts(builder, n, lanes):
            total = cgutils.alloca_once(builder, vector(I32, lanes))
            builder.store(vector(I32, lanes, 1 << (BITS - 1)), total)
            row = builder.add(source, start)
            with cgutils.for_range(builder, count) as tap:
                levels = load(builder, builder.add(row, builder.mul(tap.index, stride)), vector(I8, lanes), 1)
                weight = load(builder, builder.add(weights, builder.mul(tap.index, apart)), I32, 4)
                product = builder.mul(builder.zext(levels, vector(I32, lanes)), splat(builder, weight, lanes))
                builder.store(builder.add(builder.load(total), product), total)
            v = builder.ashr(builder.load(total), vector(I32, lanes, BITS))
            low, high = vector(I32, lanes, 0), vector(I32, lanes, 255)
            v = builder.select(builder.icmp_signed(">", v, low), v, low)
            v = builder.select(builder.icmp_signed("<", v, high), v, high)
            store_vector(builder, builder.trunc(v, vector(I8, lanes)), builder.add(out, start), 1)

    return of_addresses(7, build)


_bytes_32, _bytes_8, _bytes_1 = _weighted(32), _weighted(8), _weighted(1)


@kernel
def weighted_bytes(source: int, stride: int, count: int, weights: int, apart: int, out: int, n: int) -> None:
    """out (n,) uint8 = the sum of `count` rows of n bytes, `stride` bytes apart, by as many weights, int32 of 22 fractional
    bits and `apart` bytes apart, rounded half up and clipped: Pillow's pass. Sums are 32-bit integers, exact in any order."""
    if n >= 32:
        _bytes_32(source, stride, count, weights, apart, out, n)
    elif n >= 8:
        _bytes_8(source, stride, count, weights, apart, out, n)
    else:
        _bytes_1(source, stride, count, weights, apart, out, n)


# ---- symmetric sums of rows of floats ------------------------------------------------------------------------------


def _mirrored_sum(lanes: int, fixed: int | None) -> Any:
    """fixed: a reach known when compiling, whose taps are unrolled and whose weights stay in registers."""
    def build(builder: Any, source: Any, stride: Any, reach: Any, weights: Any, out: Any, n: Any) -> None:
        form = vector(F32, lanes)

        def weight(k: Any) -> Any:
            return splat(builder, load(builder, builder.add(weights, builder.shl(k, I64(2))), F32, 4), lanes)

        def pair(centre: Any, k: Any, by: Any) -> Any:
            distance = builder.mul(k, stride)
            both = builder.fadd(load(builder, builder.sub(centre, distance), form, 4),
                                load(builder, builder.add(centre, distance), form, 4))
            return builder.fmul(both, by)

        known = [weight(I64(k)) for k in range(1 + (fixed or 0))]
        for start in _block_starts(builder, n, lanes):
            offset = builder.shl(start, I64(2))
            centre = builder.add(source, offset)
            value = builder.fmul(load(builder, centre, form, 4), known[0])
            if fixed is None:
                total = cgutils.alloca_once(builder, form)
                builder.store(value, total)
                with cgutils.for_range(builder, reach) as tap:
                    k = builder.add(tap.index, I64(1))
                    builder.store(builder.fadd(builder.load(total), pair(centre, k, weight(k))), total)
                value = builder.load(total)
            else:
                for j in range(1, fixed + 1):
                    value = builder.fadd(value, pair(centre, I64(j), known[j]))
            store_vector(builder, value, builder.add(out, offset), 4)

    return of_addresses(6, build)


_reach_1, _reach_2, _reach_3, _reach_6 = (_mirrored_sum(16, reach) for reach in (1, 2, 3, 6))
_any_reach, _one_by_one = _mirrored_sum(16, None), _mirrored_sum(1, None)


@kernel
def mirrored_sum(source: int, stride: int, reach: int, weights: int, out: int, n: int) -> None:
    """out (n,) = weights[0] * row + the sum over k = 1 .. reach of weights[k] * (row k strides before + row k strides after).

    All float32, rows of n values from source, stride in bytes; the sum's order is fixed. out overlaps no row that is read.
    """
    if n < 16:
        _one_by_one(source, stride, reach, weights, out, n)
    elif reach == 1:
        _reach_1(source, stride, reach, weights, out, n)
    elif reach == 2:
        _reach_2(source, stride, reach, weights, out, n)
    elif reach == 3:
        _reach_3(source, stride, reach, weights, out, n)
    elif reach == 6:
        _reach_6(source, stride, reach, weights, out, n)
    else:
        _any_reach(source, stride, reach, weights, out, n)


def _eight_sums(builder: Any, source: Any, step: Any, count: Any, weights: Any, out: Any) -> None:
    form = vector(F32, 8)
    total = cgutils.alloca_once(builder, form)
    builder.store(vector(F32, 8, 0.0), total)
    with cgutils.for_range(builder, count) as tap:
        value = splat(builder, load(builder, builder.add(source, builder.mul(tap.index, step)), F32, 4), 8)
        by = load(builder, builder.add(weights, builder.shl(tap.index, I64(5))), form, 4)
        builder.store(builder.fadd(builder.load(total), builder.fmul(value, by)), total)
    store_vector(builder, builder.load(total), out, 4)


eight_sums = of_addresses(5, _eight_sums)
"""eight_sums(source, step, count, weights, out): out (8,) = the sum over k < count of the value at source + k * step bytes times
row k of weights (count, 8); all float32, in this order."""


# ---- four pixels of a row for each output --------------------------------------------------------------------------


def _four_pixels(builder: Any, line: Any, offsets: Any, weights: Any, out: Any, step: Any, plane: Any, n: Any) -> None:
    form = vector(F32, 4)
    magic = vector(F32, 4, 12582912.0)  # 1.5 * 2**23: above it floats are whole numbers, so adding it rounds half to even
    with cgutils.for_range(builder, n) as pixel:
        value = vector(F32, 4, 0.0)
        tap = builder.shl(pixel.index, I64(4))
        for k in range(4):
            offset = builder.zext(load(builder, builder.add(builder.add(offsets, tap), I64(4 * k)), I32, 4), I64)
            weight = splat(builder, load(builder, builder.add(builder.add(weights, tap), I64(4 * k)), F32, 4), 4)
            value = builder.fadd(value, builder.fmul(weight, load(builder, builder.add(line, offset), form, 4)))
        value = builder.fsub(builder.fadd(value, magic), magic)
        low, high = vector(F32, 4, 0.0), vector(F32, 4, 255.0)
        value = builder.select(builder.fcmp_ordered(">", value, low), value, low)
        value = builder.select(builder.fcmp_ordered("<", value, high), value, high)
        to = builder.add(out, builder.mul(pixel.index, step))
        for c in range(3):
            level = builder.extract_element(value, ir.Constant(I32, c))
            store_vector(builder, level, builder.add(to, builder.mul(plane, I64(c))), 4)


four_pixels = of_addresses(7, _four_pixels)
"""four_pixels(line, offsets, weights, out, step, plane, n): pixel i of n is the sum of four pixels of line, float32 of r, g, b
in turn, at offsets[4 * i : 4 * i + 4] bytes (int32) by weights[4 * i : 4 * i + 4] (float32), rounded half to even and clipped
to 0..255; written to out + i * step, its channels `plane` bytes apart. One value after the last pixel of line is read."""


# ---- transposition of bytes ----------------------------------------------------------------------------------------


def _interleaved_rows(builder: Any, source: Any, source_stride: Any, out: Any, out_stride: Any) -> None:
    """A 16 x 16 block: interleaving the rows of its upper and lower half, four times over, transposes it."""
    form = vector(I8, 16)
    low = vector(I32, 16, [i // 2 + 16 * (i % 2) for i in range(16)])
    high = vector(I32, 16, [8 + i // 2 + 16 * (i % 2) for i in range(16)])
    rows = [load(builder, builder.add(source, builder.mul(source_stride, I64(i))), form, 1) for i in range(16)]
    for _ in range(4):
        rows = [builder.shuffle_vector(rows[i // 2], rows[i // 2 + 8], high if i % 2 else low) for i in range(16)]
    for i, row in enumerate(rows):
        store_vector(builder, row, builder.add(out, builder.mul(out_stride, I64(i))), 1)


_transpose_16 = of_addresses(4, _interleaved_rows)


@kernel
def transpose(source: Any, top: int, left: int, rows: int, columns: int, out: Any) -> None:
    """out (columns, rows) uint8 = the part of source (R, C) uint8 that begins at (top, left), transposed."""
    if rows < 16 or columns < 16:
        for r in range(rows):
            for c in range(columns):
                out[c, r] = source[top + r, left + c]
        return
    inside(source, top, left)
    inside(source, top + rows - 1, left + columns - 1)
    inside(out, columns - 1, rows - 1)
    begin, end = address(source) + top * source.strides[0] + left, address(out)
    for c0 in range(0, columns, 16):
        c = min(c0, columns - 16)
        for r0 in range(0, rows, 16):
            r = min(r0, rows - 16)
            _transpose_16(begin + r * source.strides[0] + c, source.strides[0], end + c * out.strides[0] + r, out.strides[0])
