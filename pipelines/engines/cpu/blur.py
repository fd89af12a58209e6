"""Blur of one plane (H, W) in place: Pillow's three boxes, or a symmetric FIR. Every sum has a fixed order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32

from .cache import kernel

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
def box_sum(line: Any, low: int, whole: int, inner: float, ends: float, out: Any) -> None:
    """out[i] = inner * (the 2 * whole + 1 values round line[low + i]) + ends * (the two beyond them)."""
    n = out.size
    a, b = line[low - whole - 1 : low - whole - 1 + n], line[low + whole + 1 : low + whole + 1 + n]
    centre = line[low : low + n]
    if whole == 0:
        for i in range(n):
            out[i] = inner * centre[i] + ends * (a[i] + b[i])
        return
    if whole == 1:
        left, right = line[low - 1 : low - 1 + n], line[low + 1 : low + 1 + n]
        for i in range(n):
            out[i] = inner * ((left[i] + right[i]) + centre[i]) + ends * (a[i] + b[i])
        return
    for i in range(n):
        out[i] = centre[i]
    for k in range(1, whole + 1):
        left, right = line[low - k : low - k + n], line[low + k : low + k + n]
        for i in range(n):
            out[i] += left[i] + right[i]
    for i in range(n):
        out[i] = inner * out[i] + ends * (a[i] + b[i])


@kernel
def box_rows(plane: Any, whole: int, inner: float, ends: float, out: Any) -> None:
    """As box_sum, down the columns: row y of out from rows y - whole - 1 to y + whole + 1 of plane, border repeated."""
    height = plane.shape[0]
    for y in range(height):
        line, centre = out[y], plane[y]
        a, b = plane[max(y - whole - 1, 0)], plane[min(y + whole + 1, height - 1)]
        if whole == 0:
            for i in range(line.size):
                line[i] = inner * centre[i] + ends * (a[i] + b[i])
        elif whole == 1:
            above, below = plane[max(y - 1, 0)], plane[min(y + 1, height - 1)]
            for i in range(line.size):
                line[i] = inner * ((above[i] + below[i]) + centre[i]) + ends * (a[i] + b[i])
        else:
            for i in range(line.size):
                line[i] = centre[i]
            for k in range(1, whole + 1):
                above, below = plane[max(y - k, 0)], plane[min(y + k, height - 1)]
                for i in range(line.size):
                    line[i] += above[i] + below[i]
            for i in range(line.size):
                line[i] = inner * line[i] + ends * (a[i] + b[i])


@kernel
def pillow_blur(plane: Any, sigma_px: float, spare: Any, line: Any) -> None:
    """plane (H, W) float32, in place; spare (H, W), line (>= 2 * (W + 2 * reach),) are scratch."""
    height, width = plane.shape
    variance = np.float64(float32(sigma_px) * float32(sigma_px)) / 3.0
    whole = math.floor((math.sqrt(12.0 * variance + 1.0) - 1.0) / 2.0)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3.0 * variance) / (6.0 * (variance - (whole + 1) * (whole + 1)))
    full = 1.0 / (2.0 * (whole + part) + 1.0)
    inner, ends = float32(full), float32(full * part)
    reach = whole + 1
    padded = line[: width + 2 * reach]
    for y in range(height):
        row = plane[y]
        for _ in range(3):
            padded[reach : reach + width] = row
            padded[:reach] = row[0]
            padded[reach + width :] = row[width - 1]
            box_sum(padded, reach, whole, inner, ends, row)
    box_rows(plane, whole, inner, ends, spare)
    box_rows(spare, whole, inner, ends, plane)
    box_rows(plane, whole, inner, ends, spare)
    for y in range(height):
        plane[y] = spare[y]


@kernel
def gaussian_blur(plane: Any, weights: Any, taps: int, border: int, spare: Any, line: Any) -> None:
    """weights (>= taps // 2 + 1,): of the centre, then of the pixels at distance 1, 2, ... on both sides."""
    height, width = plane.shape
    reach = taps // 2
    w0 = float32(weights[0])
    for y in range(height):
        out, centre = spare[y], plane[y]
        for i in range(width):
            out[i] = w0 * centre[i]
        for k in range(1, reach + 1):
            w = float32(weights[k])
            up, down = border_at(y - k, height, border), border_at(y + k, height, border)
            if up >= 0 and down >= 0:
                above, below = plane[up], plane[down]
                for i in range(width):
                    out[i] += w * (above[i] + below[i])
            elif up >= 0 or down >= 0:
                only = plane[max(up, down)]
                for i in range(width):
                    out[i] += w * only[i]
    padded = line[: width + 2 * reach]
    for y in range(height):
        for i in range(width + 2 * reach):
            at = border_at(i - reach, width, border)
            padded[i] = spare[y, at] if at >= 0 else float32(0)
        out, centre = plane[y], padded[reach : reach + width]
        for i in range(width):
            out[i] = w0 * centre[i]
        for k in range(1, reach + 1):
            w = float32(weights[k])
            left, right = padded[reach - k : reach - k + width], padded[reach + k : reach + k + width]
            for i in range(width):
                out[i] += w * (left[i] + right[i])
