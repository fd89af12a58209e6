"""Blur of one plane (H, W) in place: Pillow's three boxes, or a symmetric FIR. Every sum has a fixed order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32

from .cache import kernel
from .vectors import address, eight_sums, inside, mirrored_sum

EDGE = 8
"""Pixels at each end of a row that are made apart, where boxes reach over the border."""

SMALLEST = 2 * EDGE + 16
"""Sides of a picture for `three_boxes`, px."""

NEGLIGIBLE = 2.0**-16
"""A weight that moves no level by more than 1/128, even with its mirror image."""

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


@kernel
def without_negligible(weights: Any, reach: int) -> int:
    """The reach of what is left of weights (reach + 1,), which are brought to sum 1 again; in place."""
    while reach > 0 and weights[reach] < NEGLIGIBLE:
        reach -= 1
    total = np.float64(weights[0])
    for k in range(1, reach + 1):
        total += 2.0 * np.float64(weights[k])
    for k in range(reach + 1):
        weights[k] = weights[k] / total
    return reach


@kernel
def three_as_one(box: Any, reach: int, fir: Any) -> None:
    """fir (3 * reach + 1,) float32: weights of the centre and at distance 1, 2, ... of three boxes box (reach + 1,) in a row."""
    n = 2 * reach + 1
    two, three = np.zeros(4 * reach + 1), np.zeros(6 * reach + 1)
    for i in range(n):
        for k in range(n):
            two[i + k] += np.float64(box[abs(i - reach)]) * np.float64(box[abs(k - reach)])
    for i in range(two.size):
        for k in range(n):
            three[i + k] += two[i] * np.float64(box[abs(k - reach)])
    for k in range(3 * reach + 1):
        fir[k] = three[3 * reach + k]


@kernel
def edges(box: Any, reach: int, left: Any, right: Any) -> None:
    """How three boxes meet the border, which is repeated before each of them. left (EDGE + 3 * reach, EDGE) float32: the weights
    of a row's first pixels (down) in its first EDGE results (across); right: of its last pixels, from the last one on, in its
    last results."""
    count = EDGE + 3 * reach
    now, after = np.empty(count + 3 * reach), np.empty(count + 3 * reach)
    for j in range(count):
        now[:] = 0.0
        now[j] = 1.0
        stop = now.size
        for _ in range(3):
            stop -= reach
            for i in range(stop):
                value = now[i] * np.float64(box[0])
                for k in range(1, reach + 1):
                    value += (now[max(i - k, 0)] + now[i + k]) * np.float64(box[k])
                after[i] = value
            now, after = after, now
        for i in range(EDGE):
            left[j, i] = now[i]
            right[j, EDGE - 1 - i] = now[i]


@kernel
def three_boxes(plane: Any, fir: Any, reach: int, left: Any, right: Any, spare: Any) -> None:
    """plane (H, W) float32 in place, sides >= SMALLEST: one filter along x and one along y, `reach` of them together being 3 or 6
    pixels; see `three_as_one` and `edges`. A row's second pass follows its first as soon as the rows that it needs are there,
    while they lie in the cache. spare (>= H * W,)."""
    height, width = plane.shape
    rows = spare[: height * width].reshape(height, width)
    inside(plane, height - 1, width - 1)
    inside(rows, height - 1, width - 1)
    inside(left, EDGE + reach - 1, EDGE - 1)
    pixels, between, by, step = address(plane), address(rows), address(fir), 4 * width
    for y in range(height):
        row, out = pixels + y * step, between + y * step
        eight_sums(row, 4, EDGE + reach, address(left), out)
        mirrored_sum(row + 4 * EDGE, 4, reach, by, out + 4 * EDGE, width - 2 * EDGE)
        eight_sums(row + step - 4, -4, EDGE + reach, address(right), out + step - 4 * EDGE)
        if y >= 2 * reach:
            mirrored_sum(out - reach * step, step, reach, by, row - reach * step, width)
    for y in range(reach):
        above, below = plane[y], plane[height - 1 - y]
        above[:] = float32(0)
        below[:] = float32(0)
        for j in range(y + reach + 1):
            weight, first, last = left[j, y], rows[j], rows[height - 1 - j]
            for i in range(width):
                above[i] += weight * first[i]
                below[i] += weight * last[i]
