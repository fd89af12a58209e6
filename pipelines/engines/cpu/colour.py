"""Jitter, grayscale, solarize and normalize on planes (3, n) of float32 levels, in blocks that stay in the first cache."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32, int32

from .cache import kernel

BLOCK = 2048
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0, 1, 2, 3
ZERO, ONE, TOP = float32(0), float32(1), float32(255)
RED, GREEN, BLUE = float32(0.299), float32(0.587), float32(0.114)


@kernel
def held(v: float, top: float) -> float:
    return min(max(v, ZERO), top)


@kernel
def scale(r: Any, g: Any, b: Any, factor: float, shift: float, clamp: bool) -> None:
    """Every level v becomes v * factor + shift."""
    high = TOP if clamp else float32(np.inf)
    low = ZERO if clamp else float32(-np.inf)
    for i in range(r.size):
        r[i] = min(max(r[i] * factor + shift, low), high)
        g[i] = min(max(g[i] * factor + shift, low), high)
        b[i] = min(max(b[i] * factor + shift, low), high)


@kernel
def blend_constant(v: Any, factor: float, pivot: float, clamp: bool) -> None:
    """v becomes pivot + factor * (v - pivot)."""
    high = TOP if clamp else float32(np.inf)
    low = ZERO if clamp else float32(-np.inf)
    for i in range(v.size):
        v[i] = min(max(pivot + factor * (v[i] - pivot), low), high)


@kernel
def blend_gray(r: Any, g: Any, b: Any, factor: float, clamp: bool) -> None:
    high = TOP if clamp else float32(np.inf)
    low = ZERO if clamp else float32(-np.inf)
    for i in range(r.size):
        y = RED * r[i] + GREEN * g[i] + BLUE * b[i]
        r[i] = min(max(y + factor * (r[i] - y), low), high)
        g[i] = min(max(y + factor * (g[i] - y), low), high)
        b[i] = min(max(y + factor * (b[i] - y), low), high)


@kernel
def scale_saturation(r: Any, g: Any, b: Any, factor: float, clamp: bool) -> None:
    """HSV's S times factor, held at 1."""
    high = TOP if clamp else float32(np.inf)
    low = ZERO if clamp else float32(-np.inf)
    for i in range(r.size):
        top = max(r[i], max(g[i], b[i]))
        span = top - min(r[i], min(g[i], b[i]))
        most = top / (span if span > ZERO else ONE) if span > ZERO else factor
        f = min(factor, most)
        r[i] = min(max(top - (top - r[i]) * f, low), high)
        g[i] = min(max(top - (top - g[i]) * f, low), high)
        b[i] = min(max(top - (top - b[i]) * f, low), high)


@kernel
def turn_hue(r: Any, g: Any, b: Any, turns: float) -> None:
    """Pillow's circle of 256 steps of 1/255, the angle cut towards zero and centred; without branches."""
    shift = float32(math.trunc(float32(255) * turns)) - float32(0.5)
    to_steps, to_sixths = float32(255 / 6), float32(6 / 255)
    for i in range(r.size):
        red, green, blue = r[i], g[i], b[i]
        top = max(red, max(green, blue))
        span = top - min(red, min(green, blue))
        inverse = ONE / (span if span > ZERO else ONE)
        from_red = (green - blue) * inverse
        from_green = (blue - red) * inverse + float32(2)
        from_blue = (red - green) * inverse + float32(4)
        h = from_red if top == red else (from_green if top == green else from_blue)
        h = h + float32(6) if h < ZERO else h
        t = h * to_steps + shift
        t = t + float32(256) if t < ZERO else t
        t = t - float32(256) if t >= float32(256) else t
        h = t * to_sixths
        h = h - float32(6) if h >= float32(6) else h
        r[i] = top - span * held(float32(2) - abs(h - float32(3)), ONE)
        g[i] = top - span * held(abs(h - float32(2)) - ONE, ONE)
        b[i] = top - span * held(abs(h - float32(4)) - ONE, ONE)


@kernel
def luma_sum(r: Any, g: Any, b: Any) -> int:
    """Sum of the luma in 1/4096 levels: whole numbers, so that no order of adding changes it. At most 2048 pixels."""
    total = int32(0)
    for i in range(r.size):
        y = (RED * r[i] + GREEN * g[i] + BLUE * b[i]) * float32(4096)
        total = int32(total + int32(y + float32(0.5)))
    return total


@kernel
def level_sum(v: Any) -> int:
    """As luma_sum, of one channel."""
    total = int32(0)
    for i in range(v.size):
        total = int32(total + int32(v[i] * float32(4096) + float32(0.5)))
    return total


@kernel
def jitter(planes: Any, steps: Any, count: int, factors: Any, additive: bool, channel_mean: bool, hsv: bool, clamp: bool) -> None:
    """steps[:count]: of BRIGHTNESS ... HUE, in order; factors (4,) float32 by step. planes (3, n).

    Two sweeps: what comes before contrast, with the sum that contrast needs; then the rest.
    """
    n = planes.shape[1]
    contrast = count
    for k in range(count):
        if steps[k] == CONTRAST:
            contrast = k
    sums = np.zeros(3, np.int64)
    for start in range(0, n, BLOCK):
        r, g, b = planes[0, start : start + BLOCK], planes[1, start : start + BLOCK], planes[2, start : start + BLOCK]
        _pointwise(r, g, b, steps, 0, contrast, factors, additive, hsv, clamp)
        if contrast < count:
            if channel_mean:
                sums[0] += level_sum(r)
                sums[1] += level_sum(g)
                sums[2] += level_sum(b)
            else:
                sums[0] += luma_sum(r, g, b)
    if contrast == count:
        if not clamp:
            _hold(planes)
        return
    pivots = np.empty(3, np.float32)
    for c in range(3):
        if channel_mean:
            pivots[c] = float32(sums[c] / (4096.0 * n))
        else:
            pivots[c] = float32(math.floor(sums[0] / (4096.0 * n) + 0.5))
    for start in range(0, n, BLOCK):
        r, g, b = planes[0, start : start + BLOCK], planes[1, start : start + BLOCK], planes[2, start : start + BLOCK]
        blend_constant(r, factors[CONTRAST], pivots[0], clamp)
        blend_constant(g, factors[CONTRAST], pivots[1], clamp)
        blend_constant(b, factors[CONTRAST], pivots[2], clamp)
        _pointwise(r, g, b, steps, contrast + 1, count, factors, additive, hsv, clamp)
    if not clamp:
        _hold(planes)


@kernel
def _pointwise(r: Any, g: Any, b: Any, steps: Any, start: int, stop: int, factors: Any, additive: bool, hsv: bool,
               clamp: bool) -> None:
    for k in range(start, stop):
        step = steps[k]
        if step == BRIGHTNESS:
            if additive:
                scale(r, g, b, ONE, float32(255) * factors[BRIGHTNESS], clamp)
            else:
                scale(r, g, b, factors[BRIGHTNESS], ZERO, clamp)
        elif step == SATURATION:
            if hsv:
                scale_saturation(r, g, b, factors[SATURATION], clamp)
            else:
                blend_gray(r, g, b, factors[SATURATION], clamp)
        elif step == HUE:
            turn_hue(r, g, b, factors[HUE])


@kernel
def _hold(planes: Any) -> None:
    for c in range(3):
        line = planes[c]
        for i in range(line.size):
            line[i] = held(line[i], TOP)


@kernel
def grayscale(planes: Any, wr: float, wg: float, wb: float) -> None:
    """All three planes become the weighted sum."""
    r, g, b = planes[0], planes[1], planes[2]
    for i in range(r.size):
        y = wr * r[i] + wg * g[i] + wb * b[i]
        r[i] = y
        g[i] = y
        b[i] = y


@kernel
def clip(planes: Any, low: float, high: float) -> None:
    for c in range(3):
        line = planes[c]
        for i in range(line.size):
            line[i] = min(max(line[i], low), high)


@kernel
def solarize(planes: Any, threshold: float) -> None:
    for c in range(3):
        line = planes[c]
        for i in range(line.size):
            line[i] = TOP - line[i] if line[i] >= threshold else line[i]


@kernel
def affine(line: Any, gain: float, offset: float) -> None:
    for i in range(line.size):
        line[i] = line[i] * gain + offset
