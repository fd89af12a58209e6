"""Blur of one plane (H, W) in place: Pillow's three boxes, or a symmetric FIR. Every sum has a fixed order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32

from .cache import kernel
from .vectors import address, inside, mirrored_sum

REFLECT, REPLICATE, ZERO = 0, 1, 2
BORDERS = {"reflect": REFLECT, "replicate": REPLICATE, "zero": ZERO}


@kernel
def border_at(i: int, size: int, border: int) -> int:
    """Which pixel stands at place i, or -1 for none."""
    if 0 <= i < size:
        return i
    if border == ZERO:
        return -1
    if border == REPLICATE or size == 1:
        return 0 if i < 0 or size == 1 else size - 1
    period = 2 * (size - 1)
    i = (i + size - 1) % period - (size - 1)
    return -i if i < 0 else i


@kernel
def box_weights(sigma_px: float, weights: Any) -> int:
    """The reach of Pillow's box, and weights[: reach + 1] float32: its whole pixels, and the part of one at each end.

    Three such boxes have the variance sigma^2. Source: Gwosdek et al. 2011, extended box.
    """
    variance = np.float64(float32(sigma_px) * float32(sigma_px)) / 3.0
    whole = math.floor((math.sqrt(12.0 * variance + 1.0) - 1.0) / 2.0)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3.0 * variance) / (6.0 * (variance - (whole + 1) * (whole + 1)))
    full = 1.0 / (2.0 * (whole + part) + 1.0)
    for k in range(whole + 1):
        weights[k] = full
    weights[whole + 1] = full * part
    return whole + 1


@kernel
def blur(plane: Any, passes: int, weights: Any, reach: int, border: int, spare: Any, line: Any) -> None:
    """plane (H, W) float32 in place: `passes` times along x, then as often along y, by weights (reach + 1,) float32 of the
    centre and of the pixels at distance 1, 2, ... on both sides. spare (>= 2 * (H + 2 * reach) * W,) and line
    (>= 2 * (W + 2 * reach),) are scratch."""
    height, width = plane.shape
    long, tall = width + 2 * reach, height + 2 * reach
    by, pixels, between = address(weights), address(plane), address(spare)
    inside(spare.reshape(1, spare.size), 0, 2 * tall * width - 1)
    for y in range(height):
        now = 0
        for i in range(width):
            line[reach + i] = plane[y, i]
        for p in range(passes):
            for k in range(1, reach + 1):
                left, right = border_at(-k, width, border), border_at(width - 1 + k, width, border)
                line[now + reach - k] = line[now + reach + left] if left >= 0 else float32(0)
                line[now + reach + width - 1 + k] = line[now + reach + right] if right >= 0 else float32(0)
            centre = address(line) + 4 * (now + reach)
            now = long - now
            out = address(line) + 4 * (now + reach) if p < passes - 1 else between + 4 * width * (reach + y)
            mirrored_sum(centre, 4, reach, by, out, width)
    now = 0
    for p in range(passes):
        padded = spare[now * tall * width : (now + 1) * tall * width].reshape(tall, width)
        for k in range(1, reach + 1):
            above, below = border_at(-k, height, border), border_at(height - 1 + k, height, border)
            _copy_row(padded, reach + above if above >= 0 else -1, reach - k)
            _copy_row(padded, reach + below if below >= 0 else -1, reach + height - 1 + k)
        begin = between + 4 * width * (now * tall + reach)
        now = 1 - now
        out = between + 4 * width * (now * tall + reach) if p < passes - 1 else pixels
        mirrored_sum(begin, 4 * width, reach, by, out, height * width)  # rows without gaps: all at once


@kernel
def _copy_row(rows: Any, source: int, target: int) -> None:
    """source -1: zeros."""
    for i in range(rows.shape[1]):
        rows[target, i] = rows[source, i] if source >= 0 else float32(0)
