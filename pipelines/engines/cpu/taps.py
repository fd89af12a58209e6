"""Which source pixels make each output pixel of a resize, and by which weights."""

from __future__ import annotations

import math
from typing import Any

from numba import int32

from .cache import kernel

BILINEAR, BICUBIC, LANCZOS = 0, 1, 2
FILTERS = {"bilinear": BILINEAR, "bicubic": BICUBIC, "lanczos": LANCZOS}


@kernel
def sin_pi(t: float) -> float:
    """sin(pi t) from + - * /, for |t| <= 3."""
    n = math.floor(t + 0.5)
    x = (t - n) * math.pi
    square = x * x
    total = 1.0
    for k in range(20, 1, -2):
        total = 1.0 - square / (k * (k + 1)) * total
    total *= x
    return total if n % 2 == 0 else -total


@kernel
def filter_weight(filter: int, t: float, cubic_a: float) -> float:
    t = abs(t)
    if filter == BILINEAR:
        return max(1.0 - t, 0.0)
    if filter == BICUBIC:
        if t < 1.0:
            return ((cubic_a + 2.0) * t - (cubic_a + 3.0)) * t * t + 1.0
        return (((t - 5.0) * t + 8.0) * t - 4.0) * cubic_a if t < 2.0 else 0.0
    if t == 0.0:
        return 1.0
    if t >= 3.0:
        return 0.0
    third = t / 3.0
    return sin_pi(t) / (math.pi * t) * (sin_pi(third) / (math.pi * third))


@kernel
def room(length: float, out: int) -> int:
    """Rows of the weights of `antialiased_taps`: the widest filter's taps."""
    return int(6.0 * max(length / out, 1.0)) + 2


@kernel
def antialiased_taps(offset: float, length: float, limit: int, out: int, filter: int, cubic_a: float, first: Any, count: Any,
                     weights: Any, floats: Any) -> None:
    """Of a box that begins at `offset` in a line of `limit` pixels and is `length` long. first, count (>= out,) int32: the
    source pixels of each output; weights (room, out) int32, times 2**22: row k has each output's k-th.

    floats (>= (room + 2) * out,) float64 is scratch. Operations and their order are Pillow's, for all outputs at once.
    """
    scale = length / out
    stretch = max(scale, 1.0)
    inverse = 1.0 / stretch
    support = stretch * (1.0 if filter == BILINEAR else 2.0 if filter == BICUBIC else 3.0)
    centers, totals, widest = floats[:out], floats[out : 2 * out], 0
    for o in range(out):
        center = offset + (o + 0.5) * scale
        low = max(int(center - support + 0.5), 0)
        n = min(int(center + support + 0.5), limit) - low
        first[o], count[o], centers[o], totals[o] = low, n, center, 0.0
        widest = max(widest, n)
    for k in range(widest):
        line = floats[(2 + k) * out : (3 + k) * out]
        _weights_of(k, filter, inverse, cubic_a, first[:out], centers, line)
        for o in range(out):
            line[o] = line[o] if k < count[o] else 0.0
            totals[o] += line[o]
    for k in range(widest):
        line, whole = floats[(2 + k) * out : (3 + k) * out], weights[k]
        for o in range(out):
            w = line[o] / totals[o] * 4194304.0
            whole[o] = int32(w - 0.5 if w < 0.0 else w + 0.5)
    for o in range(out):
        n = count[o]
        while n > 1 and weights[n - 1, o] == 0:
            n -= 1
        count[o] = n


@kernel
def _weights_of(k: int, filter: int, inverse: float, cubic_a: float, first: Any, centers: Any, line: Any) -> None:
    """line (out,): of each output's k-th source pixel, before they are scaled to sum 1."""
    if filter == BICUBIC:
        for o in range(line.size):
            t = abs((first[o] + k) - centers[o] + 0.5) * inverse
            near = ((cubic_a + 2.0) * t - (cubic_a + 3.0)) * t * t + 1.0
            far = (((t - 5.0) * t + 8.0) * t - 4.0) * cubic_a
            line[o] = near if t < 1.0 else (far if t < 2.0 else 0.0)
    else:
        for o in range(line.size):
            line[o] = filter_weight(filter, ((first[o] + k) - centers[o] + 0.5) * inverse, cubic_a)


@kernel
def interpolating_taps(length: int, out: int, filter: int, cubic_a: float, first: Any, floats: Any) -> None:
    """first (>= 4 * out,) int32: four source pixels of each output, held inside; floats (>= 4 * out,): their weights."""
    scale = length / out
    for o in range(out):
        center = (o + 0.5) * scale - 0.5
        if filter == BILINEAR:
            center = max(center, 0.0)
        base = math.floor(center)
        for k in range(4):
            at = base + k - 1
            outside = filter == BILINEAR and (k == 0 or k == 3)
            first[4 * o + k] = min(max(at, 0), length - 1)
            floats[4 * o + k] = 0.0 if outside else filter_weight(filter, center - at, cubic_a)
