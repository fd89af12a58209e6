"""Runs of steps that look at one pixel at a time, as one table of adjustments for `sweep`.

What a resize left as bytes is read as bytes; where nothing else stands before the batch, floats are never written anywhere
but there. Contrast needs the mean of what precedes it: then the picture is looked at once before.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32

from . import sweep
from .cache import kernel
from .codes import AFFINE, CLIP, GRAYSCALE, JITTER, MEAN_STD, SAVE, SOLARIZE, STORE
from .store import as_floats, write, writes_planes
from .sweep import CIRCLE, CONSTANTS, LANES, LONGEST, sweep_bytes, sweep_floats
from .vectors import address, inside

BLOCK = 1024
"""Pixels that go on to `store.write` at a time."""

BRIGHTNESS, CONTRAST, SATURATION, HUE = 0, 1, 2, 3
ADDITIVE, CHANNEL_MEAN, HSV, CLAMP = 1, 2, 4, 8
"""Jitter's adjustments, and the bits of its laws."""

MOST = 12
"""Adjustments of a jitter with what it needs, and of a store."""

TOP, INFINITE = float32(255), float32(np.inf)


@kernel
def is_pointwise(step: Any) -> bool:
    return step[0] in (JITTER, GRAYSCALE, SOLARIZE, CLIP, AFFINE)


@kernel
def is_plain_store(step: Any) -> bool:
    return step[0] == STORE and step[4] == MEAN_STD


@kernel
def end_of_run(steps: Any, params: Any, begin: int, end: int) -> int:
    """The step behind a run that starts at `begin`, where there may be none: at most one jitter that is applied; nothing after a
    picture that is kept, or stored."""
    jitters = 0
    for s in range(begin, end):
        if is_plain_store(steps[s]):
            return s + 1
        if steps[s, 0] == JITTER:
            jitters += params[steps[s, 2]] != 0
        if not is_pointwise(steps[s]) or jitters > 1:
            return s
        if steps[s, SAVE] != 0:
            return s + 1
    return end


@kernel
def leaves_gray(steps: Any, params: Any, begin: int, stop: int, gray: bool) -> bool:
    """Whether the planes are equal after a run; gray: whether they were before."""
    for s in range(begin, stop):
        if steps[s, 0] == AFFINE or (steps[s, 0] == JITTER and params[steps[s, 2]] != 0):
            gray = False
        elif steps[s, 0] == GRAYSCALE and params[steps[s, 2]] != 0:
            gray = True
    return gray


@kernel
def unpack(levels: Any, pixels: Any, n: int) -> None:
    """Three planes of n bytes each as floats."""
    for i in range(3 * n):
        pixels[i] = levels[i]


@kernel
def run(steps: Any, constants: Any, params: Any, begin: int, stop: int, is_bytes: bool, levels: Any, pixels: Any, n: int,
        room: Any, gains: Any, channels: int, place: int, dtype: int, channels_last: bool) -> None:
    """Steps begin .. stop of a picture of n pixels, three planes one after the other: bytes in `levels` where is_bytes, else
    floats in `pixels`. A store at the end writes to the address `place`, else the result is in pixels. room (3 * BLOCK,) float32
    and what follows it as `store.write` has it."""
    size = stop - begin + MOST
    codes, table, sums = np.empty(size, np.int64), np.zeros((size, CONSTANTS), np.float32), np.zeros(3, np.int64)
    before, between = _adjustments(steps, constants, params, begin, stop, codes, table)
    stored = is_plain_store(steps[stop - 1])
    first, count = 0, before + between
    if before > 0 and codes[before - 1] in (sweep.LUMA_SUM, sweep.LEVEL_SUMS):
        keep = not is_bytes
        for k in range(before):
            keep |= codes[k] == sweep.HUE  # too much to be done twice
        _through(is_bytes, levels, pixels, n, 0, n, address(pixels) if keep else 0, 4 * n, codes, table, 0, before, sums)
        by_level = codes[before - 1] == sweep.LEVEL_SUMS
        for c in range(3):
            if by_level:
                table[before, 1 + c] = float32(sums[c] / (4096.0 * n))
            else:
                table[before, 1 + c] = float32(math.floor(sums[0] / (4096.0 * n) + 0.5))
        codes[before - 1] = sweep.NOTHING
        if keep:
            is_bytes, first = False, before
    if stored and writes_planes(dtype, channels, channels_last):
        codes[count] = sweep.AFFINE
        for k in range(6):
            table[count, k] = gains[k]
        _through(is_bytes, levels, pixels, n, 0, n, place, 4 * n, codes, table, first, count + 1, sums)
    elif stored:
        r, g, b = room[:BLOCK], room[BLOCK : 2 * BLOCK], room[2 * BLOCK :]
        for low in range(0, n, BLOCK):
            m = min(BLOCK, n - low)
            _through(is_bytes, levels, pixels, n, low, m, address(room), 4 * BLOCK, codes, table, first, count, sums)
            write(r[:m], g[:m], b[:m], channels, gains, dtype, channels_last, place, low, n)
    elif is_bytes or count > first:
        _through(is_bytes, levels, pixels, n, 0, n, address(pixels), 4 * n, codes, table, first, count, sums)


@kernel
def _through(is_bytes: bool, levels: Any, pixels: Any, n: int, low: int, size: int, out: int, apart_out: int, codes: Any,
             table: Any, first: int, stop: int, sums: Any) -> None:
    """Pixels low .. low + size of n through adjustments first .. stop, to out and on, its planes apart_out bytes apart, or
    nowhere where out is 0."""
    inside(pixels.reshape(1, pixels.size), 0, 3 * n - 1)
    inside(levels.reshape(1, levels.size), 0, 3 * n - 1 if is_bytes else 0)
    inside(table, stop - 1 if stop > 0 else 0, 0)
    which, by = address(codes) + 8 * first, address(table) + 4 * CONSTANTS * first
    whole = size - size % LANES
    for at in range(0, whole, LONGEST):
        m = min(LONGEST, whole - at)
        target = out + 4 * at if out != 0 else 0
        if is_bytes:
            sweep_bytes(address(levels) + low + at, n, target, apart_out, which, by, stop - first, m, address(sums))
        else:
            sweep_floats(address(pixels) + 4 * (low + at), 4 * n, target, apart_out, which, by, stop - first, m, address(sums))
    rest = size - whole
    if rest > 0:  # sixteen would reach into the next plane
        last, at = np.zeros((3, LANES), np.float32), low + whole
        for c in range(3):
            for i in range(rest):
                last[c, i] = float32(levels[c * n + at + i]) if is_bytes else pixels[c * n + at + i]
        sweep_floats(address(last), 4 * LANES, address(last), 4 * LANES, which, by, stop - first, rest, address(sums))
        for c in range(3 if out != 0 else 0):
            target_line = as_floats(out + c * apart_out + 4 * whole, rest)
            for i in range(rest):
                target_line[i] = last[c, i]


@kernel
def _adjustments(steps: Any, constants: Any, params: Any, begin: int, stop: int, codes: Any, table: Any) -> Any:
    """Fill the table. Returns how many adjustments come before contrast, the sum that it needs being the last of them, and how
    many follow; 0 and all of them where there is no contrast."""
    count, before = 0, 0
    for s in range(begin, stop):
        code, at = steps[s, 0], steps[s, 2]
        if code == JITTER:
            if params[at] != 0:
                laws = steps[s, 4]
                low, high = (float32(0), TOP) if laws & CLAMP != 0 else (-INFINITE, INFINITE)
                for k in range(4):
                    which = int(params[at + 1 + k])
                    factor = float32(params[at + 5 + which])
                    if steps[s, 5 + which] == 0:
                        continue
                    if which == CONTRAST:
                        codes[count] = sweep.LEVEL_SUMS if laws & CHANNEL_MEAN != 0 else sweep.LUMA_SUM
                        count += 1
                        before = count
                        codes[count], table[count, 0], table[count, 4], table[count, 5] = sweep.CONTRAST, factor, low, high
                    elif which == BRIGHTNESS:
                        codes[count], table[count, 2], table[count, 3] = sweep.SCALE, low, high
                        table[count, 0] = float32(1) if laws & ADDITIVE != 0 else factor
                        table[count, 1] = TOP * factor if laws & ADDITIVE != 0 else float32(0)
                    elif which == SATURATION:
                        codes[count] = sweep.SATURATE_HSV if laws & HSV != 0 else sweep.SATURATE
                        table[count, 0], table[count, 1], table[count, 2] = factor, low, high
                    else:
                        codes[count] = sweep.HUE
                        for sector in range(4):
                            table[count, sector] = sixths(factor) + 2.0 * sector
                    count += 1
                if laws & CLAMP == 0:
                    codes[count], table[count, 0], table[count, 3] = sweep.SCALE, float32(1), TOP
                    count += 1
        elif code == GRAYSCALE:
            if params[at] != 0:
                codes[count] = sweep.GRAY
                for c in range(3):
                    table[count, c] = constants[s, c]
                count += 1
        elif code == SOLARIZE:
            if params[at] != 0:
                codes[count], table[count, 0] = sweep.SOLARIZE, constants[s, 0]
                count += 1
        elif code == CLIP:
            codes[count], table[count, 0] = sweep.SCALE, float32(1)
            table[count, 2], table[count, 3] = constants[s, 0], constants[s, 1]
            count += 1
        elif code == AFFINE:
            codes[count] = sweep.AFFINE
            for k in range(6):
                table[count, k] = constants[s, k]
            count += 1
    return before, count - before


@kernel
def sixths(turns: float) -> float:
    """The angle that Pillow's circle turns by, from 0 to CIRCLE: cut to whole steps of 1/255 towards zero, and centred."""
    angle = (math.trunc(float32(255) * turns) - 0.5) * (6 / 255)
    return angle if angle >= 0 else angle + CIRCLE
