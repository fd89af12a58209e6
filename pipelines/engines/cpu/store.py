"""A view's planes, normalized, into its place in the batch: any of four types, channels first or last."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, float32, int32, types, uint8, uint16
from numba.extending import intrinsic

from . import tone
from .cache import kernel
from .codes import GROUP, ORDINAL, TILE_MEAN, TILE_MEAN_STD, TILE_RMS, VALUES

FLOAT32, FLOAT16, BFLOAT16, UINT8 = 0, 1, 2, 3
DTYPES = {"float32": FLOAT32, "float16": FLOAT16, "bfloat16": BFLOAT16, "uint8": UINT8}
ZERO, TOP, HALF = float32(0), float32(255), float32(0.5)


def _pointer_to(kind: Any) -> Any:
    def typing(context: Any, address: Any) -> Any:
        return types.CPointer(kind)(address), lambda c, b, s, a: b.inttoptr(a[0], c.get_value_type(s.return_type))

    return intrinsic(typing)


_of_float32, _of_uint16, _of_uint8 = _pointer_to(types.float32), _pointer_to(types.uint16), _pointer_to(types.uint8)


@kernel
def gains_of(planes: Any, channels: int, step: Any, constants: Any, gains: Any) -> None:
    """gains (6,): of each of three channels, then what is added. planes (3, n): read where the view's own statistics count."""
    kind = step[4]
    if kind in (TILE_MEAN, TILE_MEAN_STD, TILE_RMS):
        tone.gains(planes, channels, kind == TILE_RMS, kind == TILE_MEAN_STD, step[5] != 0, constants[0], gains)
    else:
        gains[:] = constants[:6]


@kernel
def place_of(instance: Any, bases: Any, batch: int, row: int, dtype: int) -> int:
    """The address of a view's first value."""
    size = 4 if dtype == FLOAT32 else 1 if dtype == UINT8 else 2
    return bases[instance[GROUP]] + (instance[ORDINAL] * batch + row) * instance[VALUES] * size


@kernel
def write(r: Any, g: Any, b: Any, channels: int, gains: Any, dtype: int, channels_last: bool, place: int, low: int,
          n: int) -> None:
    """Pixels from `low` on of a view of n, whose levels r, g, b (float32) may be changed. gains (6,) as `gains_of` has them.

    uint8 takes the levels as they are, rounded half up, without the normalization."""
    if channels_last and channels == 3:
        _woven(r, g, b, gains, dtype, place, low)
        return
    for c in range(channels):
        line = r if c == 0 else g if c == 1 else b
        gain, offset = float32(gains[c]), float32(gains[3 + c])
        begin, step = (channels * low + c, channels) if channels_last else (c * n + low, 1)
        room = 1 + (line.size - 1) * step
        if dtype == FLOAT32:
            floats(line, gain, offset, step, carray(_of_float32(place + 4 * begin), room))
        elif dtype == UINT8:
            to_bytes(line, step, carray(_of_uint8(place + begin), room))
        else:
            affine(line, gain, offset)
            to_halves(line.view(np.uint32), dtype == BFLOAT16, step, carray(_of_uint16(place + 2 * begin), room))


@kernel
def writes_planes(dtype: int, channels: int, channels_last: bool) -> bool:
    """Whether a view is three planes of float32 in the batch: then whoever has its levels may as well write them there."""
    return dtype == FLOAT32 and channels == 3 and not channels_last


@kernel
def as_floats(place: int, n: int) -> Any:
    """n float32 from an address on."""
    return carray(_of_float32(place), n)


@kernel
def _woven(r: Any, g: Any, b: Any, gains: Any, dtype: int, place: int, low: int) -> None:
    """The three channels of each pixel side by side."""
    n, begin = r.size, 3 * low
    if dtype == UINT8:
        levels = carray(_of_uint8(place + begin), 3 * n)
        for i in range(n):
            levels[3 * i] = whole(r[i])
            levels[3 * i + 1] = whole(g[i])
            levels[3 * i + 2] = whole(b[i])
        return
    affine(r, float32(gains[0]), float32(gains[3]))
    affine(g, float32(gains[1]), float32(gains[4]))
    affine(b, float32(gains[2]), float32(gains[5]))
    if dtype == FLOAT32:
        out = carray(_of_float32(place + 4 * begin), 3 * n)
        for i in range(n):
            out[3 * i] = r[i]
            out[3 * i + 1] = g[i]
            out[3 * i + 2] = b[i]
        return
    for c in range(3):  # in place: a half lies in the lower part of where its float was
        line = r if c == 0 else g if c == 1 else b
        bits = line.view(np.uint32)
        to_halves(bits, dtype == BFLOAT16, 1, bits)
    halves = carray(_of_uint16(place + 2 * begin), 3 * n)
    red, green, blue = r.view(np.uint32), g.view(np.uint32), b.view(np.uint32)
    for i in range(n):
        halves[3 * i] = red[i]
        halves[3 * i + 1] = green[i]
        halves[3 * i + 2] = blue[i]


@kernel
def affine(line: Any, gain: float, offset: float) -> None:
    for i in range(line.size):
        line[i] = line[i] * gain + offset


@kernel
def floats(line: Any, gain: float, offset: float, step: int, out: Any) -> None:
    if step == 1:
        for i in range(line.size):
            out[i] = line[i] * gain + offset
    else:
        for i in range(line.size):
            out[i * step] = line[i] * gain + offset


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
def bfloat16_of(v: int) -> int:
    return uint16((v + np.uint32(0x7FFF) + ((v >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


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
def to_halves(bits: Any, brain: bool, step: int, out: Any) -> None:
    """bits: uint32 of float32 values, finite; rounded to nearest, ties to even. Of float16, values below its normal range become
    subnormal, above it infinite."""
    if brain:
        if step == 1:
            for i in range(bits.size):
                out[i] = bfloat16_of(bits[i])
        else:
            for i in range(bits.size):
                out[i * step] = bfloat16_of(bits[i])
    elif step == 1:
        for i in range(bits.size):
            out[i] = float16_of(bits[i])
    else:
        for i in range(bits.size):
            out[i * step] = float16_of(bits[i])
