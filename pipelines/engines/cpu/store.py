"""A view's planes, normalized, into its place in the batch: any of four types, channels first or last."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, float32, int32, types, uint8, uint16
from numba.extending import intrinsic

from . import tone
from .cache import kernel
from .codes import CHANNELS, GROUP, ORDINAL, TILE_MEAN, TILE_MEAN_STD, TILE_RMS, VALUES
from .colour import affine

FLOAT32, FLOAT16, BFLOAT16, UINT8 = 0, 1, 2, 3
DTYPES = {"float32": FLOAT32, "float16": FLOAT16, "bfloat16": BFLOAT16, "uint8": UINT8}
BLOCK = 1024
"""Pixels: three planes of them, as floats and as what is stored, stay in the first cache."""

ZERO, TOP, HALF = float32(0), float32(255), float32(0.5)


def _pointer_to(kind: Any) -> Any:
    def typing(context: Any, address: Any) -> Any:
        return types.CPointer(kind)(address), lambda c, b, s, a: b.inttoptr(a[0], c.get_value_type(s.return_type))

    return intrinsic(typing)


_of_float32, _of_uint16, _of_uint8 = _pointer_to(types.float32), _pointer_to(types.uint16), _pointer_to(types.uint8)


@kernel
def store(planes: Any, instance: Any, step: Any, constants: Any, bases: Any, batch: int, row: int, dtype: int,
          channels_last: bool, bits: Any) -> None:
    """planes (3, n) float32 of levels, which may be changed; bits: their memory as uint32, one plane after the other.

    uint8 takes the levels as they are, rounded half up, without the normalization."""
    n, channels, kind = planes.shape[1], instance[CHANNELS], step[4]
    gains = np.empty(6)
    if kind in (TILE_MEAN, TILE_MEAN_STD, TILE_RMS):
        tone.gains(planes, channels, kind == TILE_RMS, kind == TILE_MEAN_STD, step[5] != 0, constants[0], gains)
    else:
        gains[:] = constants[:6]
    start = (instance[ORDINAL] * batch + row) * instance[VALUES]
    base = bases[instance[GROUP]]
    apart, step_out = (1, channels) if channels_last else (n, 1)
    if dtype == FLOAT32:
        out = carray(_of_float32(base + 4 * start), channels * n)
        if channels_last and channels == 3:
            interleaved_floats(planes, gains, out)
            return
        for c in range(channels):
            floats(planes[c], float32(gains[c]), float32(gains[3 + c]), step_out, out[c * apart :])
    elif dtype == UINT8:
        levels = carray(_of_uint8(base + start), channels * n)
        if channels_last and channels == 3:
            interleaved_bytes(planes, levels)
            return
        for c in range(channels):
            to_bytes(planes[c], step_out, levels[c * apart :])
    else:
        halves = carray(_of_uint16(base + 2 * start), channels * n)
        for c in range(channels):
            affine(planes[c], float32(gains[c]), float32(gains[3 + c]))
        if channels_last and channels == 3:
            interleaved_halves(bits, n, dtype == BFLOAT16, halves)
            return
        for c in range(channels):
            line = bits[c * n : (c + 1) * n]
            if dtype == BFLOAT16:
                to_bfloat16(line, step_out, halves[c * apart :])
            else:
                to_float16(line, step_out, halves[c * apart :])


@kernel
def floats(line: Any, gain: float, offset: float, step: int, out: Any) -> None:
    if step == 1:
        for i in range(line.size):
            out[i] = line[i] * gain + offset
    else:
        for i in range(line.size):
            out[i * step] = line[i] * gain + offset


@kernel
def interleaved_floats(planes: Any, gains: Any, out: Any) -> None:
    r, g, b = planes[0], planes[1], planes[2]
    gr, gg, gb = float32(gains[0]), float32(gains[1]), float32(gains[2])
    tr, tg, tb = float32(gains[3]), float32(gains[4]), float32(gains[5])
    for i in range(r.size):
        out[3 * i] = r[i] * gr + tr
        out[3 * i + 1] = g[i] * gg + tg
        out[3 * i + 2] = b[i] * gb + tb


@kernel
def whole(v: float) -> int:
    return uint8(int32(min(max(v, ZERO), TOP) + HALF))


@kernel
def to_bytes(line: Any, step: int, out: Any) -> None:
    if step == 1:
        for i in range(line.size):
            out[i] = whole(line[i])
    else:
        for i in range(line.size):
            out[i * step] = whole(line[i])


@kernel
def interleaved_bytes(planes: Any, out: Any) -> None:
    r, g, b = planes[0], planes[1], planes[2]
    for i in range(r.size):
        out[3 * i] = whole(r[i])
        out[3 * i + 1] = whole(g[i])
        out[3 * i + 2] = whole(b[i])


@kernel
def interleaved_halves(bits: Any, n: int, brain: bool, out: Any) -> None:
    """In blocks: first converted, which vectorizes, then woven together."""
    between = np.empty((3, BLOCK), np.uint16)
    r, g, b = between[0], between[1], between[2]
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        for c in range(3):
            if brain:
                to_bfloat16(bits[c * n + start : c * n + stop], 1, between[c])
            else:
                to_float16(bits[c * n + start : c * n + stop], 1, between[c])
        part = out[3 * start : 3 * stop]
        for i in range(stop - start):
            part[3 * i] = r[i]
            part[3 * i + 1] = g[i]
            part[3 * i + 2] = b[i]


@kernel
def bfloat16_of(v: int) -> int:
    return uint16((v + np.uint32(0x7FFF) + ((v >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@kernel
def to_bfloat16(bits: Any, step: int, out: Any) -> None:
    """bits: uint32 of float32 values, finite; rounded to nearest, ties to even."""
    if step == 1:
        for i in range(bits.size):
            out[i] = bfloat16_of(bits[i])
    else:
        for i in range(bits.size):
            out[i * step] = bfloat16_of(bits[i])


@kernel
def float16_of(bits: int) -> int:
    v = int32(bits)
    sign = int32((v >> int32(16)) & int32(0x8000))
    magnitude = int32(v & int32(0x7FFFFFFF))
    if magnitude >= int32(0x477FF000):
        half = int32(0x7C00)
    elif magnitude >= int32(0x38800000):
        half = int32((magnitude - int32(0x38000000) + int32(0xFFF) + ((magnitude >> int32(13)) & int32(1))) >> int32(13))
    else:
        shift = int32(126) - (magnitude >> int32(23))
        if shift > int32(24):
            half = int32(0)
        else:
            mantissa = int32((magnitude & int32(0x7FFFFF)) | int32(0x800000))
            half = int32(mantissa >> shift)
            rest = int32(mantissa - (half << shift))
            tie = int32(int32(1) << (shift - int32(1)))
            if rest > tie or (rest == tie and half & int32(1)):
                half += int32(1)
    return uint16(half | sign)


@kernel
def to_float16(bits: Any, step: int, out: Any) -> None:
    """As to_bfloat16, for IEEE half precision: values below its normal range become subnormal, above it infinite."""
    if step == 1:
        for i in range(bits.size):
            out[i] = float16_of(bits[i])
    else:
        for i in range(bits.size):
            out[i * step] = float16_of(bits[i])
