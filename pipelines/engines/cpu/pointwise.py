"""Runs of steps that look at one pixel at a time, done together in blocks that stay in the first cache.

What a resize left as bytes is read as bytes; where nothing else stands before the batch, floats are never written anywhere
but there. Contrast needs the mean of what precedes it: then the picture is looked at once before.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32

from . import colour
from .cache import kernel
from .codes import AFFINE, CLIP, GRAYSCALE, JITTER, MEAN_STD, SAVE, SOLARIZE, STORE
from .store import write, write_bytes

BLOCK = 1024
"""Pixels."""


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
    order, factors, sums = np.empty(4, np.int64), np.empty(4, np.float32), np.zeros(3, np.int64)
    pivots = np.zeros(3, np.float32)
    count, contrast, jitter = 0, 4, stop
    for s in range(begin, stop):
        at = steps[s, 2]
        if steps[s, 0] == JITTER and params[at] != 0:
            jitter = s
            for k in range(4):
                which = int(params[at + 1 + k])
                factors[k] = float32(params[at + 5 + k])
                if steps[s, 5 + which] != 0:
                    order[count] = which
                    contrast = count if which == colour.CONTRAST else contrast
                    count += 1
    stored = is_plain_store(steps[stop - 1])
    if is_bytes and stored and not _acts(steps, params, begin, stop - 1) and write_bytes(
            levels, n, channels, gains, dtype, channels_last, place):
        return
    first, resumed = begin, 0
    if contrast < count:
        channel_mean, keep = steps[jitter, 4] & 2 != 0, False
        for k in range(contrast):
            keep |= order[k] == colour.HUE  # too much to be done twice
        for low in range(0, n, BLOCK):
            high = min(low + BLOCK, n)
            r, g, b = _block(is_bytes, not keep, levels, pixels, n, low, high, room)
            _apply(r, g, b, steps, constants, params, begin, jitter)
            colour.adjust(r, g, b, order, 0, contrast, factors, pivots, steps[jitter, 4])
            if channel_mean:
                sums[0] += colour.level_sum(r)
                sums[1] += colour.level_sum(g)
                sums[2] += colour.level_sum(b)
            else:
                sums[0] += colour.luma_sum(r, g, b)
        for c in range(3):
            if channel_mean:
                pivots[c] = float32(sums[c] / (4096.0 * n))
            else:
                pivots[c] = float32(math.floor(sums[0] / (4096.0 * n) + 0.5))
        if keep or not is_bytes:
            is_bytes, first, resumed = False, jitter, contrast
    for low in range(0, n, BLOCK):
        high = min(low + BLOCK, n)
        r, g, b = _block(is_bytes, stored, levels, pixels, n, low, high, room)
        _apply(r, g, b, steps, constants, params, first, jitter)
        if jitter < stop:
            colour.adjust(r, g, b, order, resumed, count, factors, pivots, steps[jitter, 4])
            if steps[jitter, 4] & 8 == 0:
                colour.hold(r, g, b)
            _apply(r, g, b, steps, constants, params, jitter + 1, stop)
        if stored:
            write(r, g, b, channels, gains, dtype, channels_last, place, low, n)


@kernel
def _acts(steps: Any, params: Any, begin: int, stop: int) -> bool:
    """Whether any of some pointwise steps does something."""
    acts = False
    for s in range(begin, stop):
        acts |= steps[s, 0] in (CLIP, AFFINE) or params[steps[s, 2]] != 0
    return acts


@kernel
def _block(is_bytes: bool, passing: bool, levels: Any, pixels: Any, n: int, low: int, high: int, room: Any) -> Any:
    """Pixels low .. high of three planes as floats: where they came as bytes and are only passing, in room."""
    if is_bytes and passing:
        size = high - low
        r, g, b = room[:size], room[BLOCK : BLOCK + size], room[2 * BLOCK : 2 * BLOCK + size]
    else:
        r, g, b = pixels[low:high], pixels[n + low : n + high], pixels[2 * n + low : 2 * n + high]
    if is_bytes:
        red, green, blue = levels[low:high], levels[n + low : n + high], levels[2 * n + low : 2 * n + high]
        for i in range(r.size):
            r[i] = red[i]
            g[i] = green[i]
            b[i] = blue[i]
    return r, g, b


@kernel
def _apply(r: Any, g: Any, b: Any, steps: Any, constants: Any, params: Any, begin: int, stop: int) -> None:
    """Steps other than jitter, and jitters that are not applied."""
    for s in range(begin, stop):
        code, at = steps[s, 0], steps[s, 2]
        if code == GRAYSCALE:
            if params[at] != 0:
                colour.grayscale(r, g, b, float32(constants[s, 0]), float32(constants[s, 1]), float32(constants[s, 2]))
        elif code == SOLARIZE:
            if params[at] != 0:
                colour.solarize(r, float32(constants[s, 0]))
                colour.solarize(g, float32(constants[s, 0]))
                colour.solarize(b, float32(constants[s, 0]))
        elif code == CLIP:
            colour.clip(r, float32(constants[s, 0]), float32(constants[s, 1]))
            colour.clip(g, float32(constants[s, 0]), float32(constants[s, 1]))
            colour.clip(b, float32(constants[s, 0]), float32(constants[s, 1]))
        elif code == AFFINE:
            colour.affine(r, float32(constants[s, 0]), float32(constants[s, 3]))
            colour.affine(g, float32(constants[s, 1]), float32(constants[s, 4]))
            colour.affine(b, float32(constants[s, 2]), float32(constants[s, 5]))
