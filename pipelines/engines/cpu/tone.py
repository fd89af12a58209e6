"""Tone curves, colour channels and fills on planes (3, n) of float32 levels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32

from .cache import kernel
from .noise import normal, uniform

ZERO, TOP, HALF = float32(0), float32(255), float32(0.5)


@kernel
def held(v: float) -> float:
    return min(max(v, ZERO), TOP)


@kernel
def whole(v: float) -> int:
    """The level as Pillow would hold it: rounded half up, 0..255."""
    return int(min(max(math.floor(v + HALF), ZERO), TOP))


@kernel
def posterize(planes: Any, bits: int) -> None:
    kept = 256 - (1 << (8 - bits))
    for c in range(3):
        line = planes[c]
        for i in range(line.size):
            line[i] = whole(line[i]) & kept


@kernel
def solarize(line: Any, threshold: float) -> None:
    for i in range(line.size):
        line[i] = TOP - line[i] if line[i] >= threshold else line[i]


@kernel
def autocontrast(planes: Any) -> None:
    for c in range(3):
        line = planes[c]
        low, high = line[0], line[0]
        for i in range(line.size):
            low, high = min(low, line[i]), max(high, line[i])
        if high - low >= HALF:  # less is float noise on what Pillow would see as one level
            gain = TOP / (high - low)
            for i in range(line.size):
                line[i] = held((line[i] - low) * gain)


@kernel
def equalize(planes: Any) -> None:
    for c in range(3):
        line = planes[c]
        counts = np.zeros(256, np.int64)
        for i in range(line.size):
            counts[whole(line[i])] += 1
        last = 255
        while counts[last] == 0:
            last -= 1
        step = (line.size - counts[last]) // 255
        if step == 0:
            for i in range(line.size):
                line[i] = whole(line[i])
            continue
        below = step // 2
        table = np.empty(256, np.float32)
        for k in range(256):
            table[k] = min(below // step, 255)
            below += counts[k]
        for i in range(line.size):
            line[i] = table[whole(line[i])]


@kernel
def sharpness(planes: Any, height: int, width: int, factor: float, spare: Any) -> None:
    """Blend with the smoothed picture, whose outermost rows and columns are the picture's own. spare (>= height * width,)."""
    n = height * width
    for c in range(3):
        line = planes[c]
        spare[:n] = line[:n]
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                at = y * width + x
                around = (spare[at - width - 1] + spare[at - width] + spare[at - width + 1] + spare[at - 1] + spare[at + 1]
                          + spare[at + width - 1] + spare[at + width] + spare[at + width + 1])
                smooth = float32(math.floor((around + float32(5) * spare[at]) / float32(13) + HALF))
                line[at] = smooth + factor * (spare[at] - smooth)
        for i in range(n):
            line[i] = held(line[i])


@kernel
def photometric(planes: Any, height: int, width: int, which: int, strength: float, level: float, spare: Any) -> None:
    """which: a number in the op's TONES; level in [0, 1) times strength is how far from no change, see `Photometric`."""
    if which == 0:
        posterize(planes, 8 - int(level * (float32(4) * strength) + HALF))
    elif which == 1:
        sharpness(planes, height, width, float32(1) + (float32(2) * level - float32(1)) * (float32(0.9) * strength), spare)
    elif which == 2:
        for c in range(3):
            solarize(planes[c], float32(256) - level * (float32(256) * strength))
    else:
        autocontrast(planes)


@kernel
def shift_values(planes: Any, shifts: Any) -> None:
    """shifts (>= 3,): levels added to each plane."""
    for c in range(3):
        line, shift = planes[c], float32(shifts[c])
        for i in range(line.size):
            line[i] = held(line[i] + shift)


@kernel
def colour_mode(planes: Any, mode: int, wr: float, wg: float, wb: float) -> None:
    """mode 0: gray by the weights; 1: without the green-magenta axis (-1, 2, -1); 2: as it is."""
    r, g, b = planes[0], planes[1], planes[2]
    if mode == 0:
        for i in range(r.size):
            y = wr * r[i] + wg * g[i] + wb * b[i]
            r[i] = y
            g[i] = y
            b[i] = y
    elif mode == 1:
        for i in range(r.size):
            along = (float32(2) * g[i] - r[i] - b[i]) * float32(1 / 6)
            r[i] = held(r[i] + along)
            g[i] = held(g[i] - float32(2) * along)
            b[i] = held(b[i] + along)


@kernel
def colour_drop(planes: Any, kept: Any, subtract: bool, noisy: bool, low: float, high: float, seed: int) -> None:
    """kept (>= 3,): which planes stay, less their mean where `subtract`; the others become noise in [low, high) levels, or 0."""
    n = planes.shape[1]
    for c in range(3):
        line = planes[c]
        if kept[c] != 0:
            if subtract:
                total = 0.0
                for i in range(n):
                    total += line[i]
                mean = float32(total / n)
                for i in range(n):
                    line[i] -= mean
        elif noisy:
            for i in range(n):
                line[i] = low + (high - low) * uniform(seed, c * n + i)
        else:
            for i in range(n):
                line[i] = ZERO


@kernel
def fill_box(planes: Any, height: int, width: int, top: int, left: int, rows: int, columns: int, levels: Any, noisy: bool,
             seed: int) -> None:
    """levels (>= 3,): of each plane; where noisy, normal noise of 64 levels about the middle. The box is cut at the border."""
    n = height * width
    for c in range(3):
        line, level = planes[c], float32(levels[c])
        for y in range(max(top, 0), min(top + rows, height)):
            for x in range(max(left, 0), min(left + columns, width)):
                at = y * width + x
                line[at] = held(float32(127.5) + float32(64) * normal(seed, c * n + at)) if noisy else level


@kernel
def fill_mask(planes: Any, mask: Any, levels: Any) -> None:
    """mask (>= n,): where not 0, each plane gets its level."""
    for c in range(3):
        line, level = planes[c], float32(levels[c])
        for i in range(line.size):
            if mask[i] != 0:
                line[i] = level


@kernel
def total(line: Any, less: float, power: int) -> float:
    """Sum of (v - less) ** power, power 1 or 2: eight sums of every eighth value, so that processors may add them at once and
    the order is still one."""
    n = line.size
    sums = np.zeros(8)
    for i in range(0, n - 7, 8):
        for k in range(8):
            v = np.float64(line[i + k]) - less
            sums[k] += v * v if power == 2 else v
    for i in range(n - n % 8, n):
        v = np.float64(line[i]) - less
        sums[i % 8] += v * v if power == 2 else v
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))


@kernel
def gains(planes: Any, channels: int, rms: bool, with_std: bool, joint: bool, gain: float, out: Any) -> None:
    """out (8,): gain and offset of each of three planes that bring the view's own mean, standard deviation or root mean
    square to where they belong; of levels onto the unit scale times gain."""
    n = planes.shape[1]
    many = n * channels
    whole = 0.0
    for c in range(channels):
        out[3 + c] = 0.0 if rms else total(planes[c], 0.0, 1)
        whole += out[3 + c]
    for c in range(channels):
        out[3 + c] = whole / many if joint else out[3 + c] / n
    whole = 0.0
    for c in range(channels):
        out[c] = total(planes[c], out[3 + c], 2) if with_std or rms else 0.0
        whole += out[c]
    for c in range(channels):
        spread = 255.0
        if with_std or rms:
            spread = math.sqrt(whole / many if joint or rms else out[c] / n)
            spread = spread if spread > 1e-3 else 255.0  # FLAT of augment's normalize
        out[c] = gain / spread
        out[3 + c] = -out[3 + c] * out[c]
