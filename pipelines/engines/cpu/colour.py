"""Jitter, grayscale, solarize and affine maps on lines of float32 levels, of one channel or of three."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32, int32

from .cache import kernel

BRIGHTNESS, CONTRAST, SATURATION, HUE = 0, 1, 2, 3
ZERO, ONE, TOP = float32(0), float32(1), float32(255)
SIX, CIRCLE = float32(6), float32(256 * 6 / 255)
"""A turn in sixths, and Pillow's turn of 256 steps where 255 would be whole."""

TINY = float32(1e-20)
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
    shift = (float32(math.trunc(float32(255) * turns)) - float32(0.5)) * float32(6 / 255)
    for i in range(r.size):
        red, green, blue = r[i], g[i], b[i]
        top = max(red, max(green, blue))
        span = top - min(red, min(green, blue))
        is_red, is_green = top == red, top == green
        across = green - blue if is_red else (blue - red if is_green else red - green)
        sector = ZERO if is_red else (float32(2) if is_green else float32(4))
        h = across / max(span, TINY) + sector  # of a gray pixel 0 / TINY
        h = h + SIX if h < ZERO else h
        h = h + shift
        h = h + CIRCLE if h < ZERO else h
        h = h - CIRCLE if h >= CIRCLE else h
        h = h - SIX if h >= SIX else h
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
def adjust(r: Any, g: Any, b: Any, order: Any, start: int, stop: int, factors: Any, pivots: Any, laws: int) -> None:
    """Jitter's adjustments order[start:stop], of BRIGHTNESS ... HUE; factors (4,) float32 by adjustment; pivots (3,) of contrast;
    laws, bits: 1 additive brightness, 4 saturation of HSV, 8 levels held after each adjustment."""
    additive, hsv, clamp = laws & 1 != 0, laws & 4 != 0, laws & 8 != 0
    for k in range(start, stop):
        step = order[k]
        if step == BRIGHTNESS:
            if additive:
                scale(r, g, b, ONE, TOP * factors[BRIGHTNESS], clamp)
            else:
                scale(r, g, b, factors[BRIGHTNESS], ZERO, clamp)
        elif step == CONTRAST:
            blend_constant(r, factors[CONTRAST], pivots[0], clamp)
            blend_constant(g, factors[CONTRAST], pivots[1], clamp)
            blend_constant(b, factors[CONTRAST], pivots[2], clamp)
        elif step == SATURATION:
            if hsv:
                scale_saturation(r, g, b, factors[SATURATION], clamp)
            else:
                blend_gray(r, g, b, factors[SATURATION], clamp)
        else:
            turn_hue(r, g, b, factors[HUE])


@kernel
def hold(r: Any, g: Any, b: Any) -> None:
    for i in range(r.size):
        r[i] = held(r[i], TOP)
        g[i] = held(g[i], TOP)
        b[i] = held(b[i], TOP)


@kernel
def grayscale(r: Any, g: Any, b: Any, wr: float, wg: float, wb: float) -> None:
    """All three become the weighted sum."""
    for i in range(r.size):
        y = wr * r[i] + wg * g[i] + wb * b[i]
        r[i] = y
        g[i] = y
        b[i] = y


@kernel
def clip(line: Any, low: float, high: float) -> None:
    for i in range(line.size):
        line[i] = min(max(line[i], low), high)


@kernel
def solarize(line: Any, threshold: float) -> None:
    for i in range(line.size):
        line[i] = TOP - line[i] if line[i] >= threshold else line[i]


@kernel
def affine(line: Any, gain: float, offset: float) -> None:
    for i in range(line.size):
        line[i] = line[i] * gain + offset
