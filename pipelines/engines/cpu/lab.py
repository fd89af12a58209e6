"""CIE Lab and gradients on planes (3, n) of float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32

from ....augment import laws
from .cache import kernel
from .geometry import window

FINE = 16
"""Steps of the gamma table within one level; between them it is linear, which is 3e-8 off."""


def gamma_table() -> np.ndarray:
    """(255 * FINE + 2,) float64: the linear light of levels 0, 1 / FINE, ..., 255, and one more of the last."""
    v = np.minimum(np.arange(255 * FINE + 2), 255 * FINE) / (255.0 * FINE)
    power = laws.exp(2.4 * laws.log((v + 0.055) / 1.055))
    return np.where(v > 0.04045, power, v / 12.92)


@kernel
def light(table: Any, level: float) -> float:
    at = float(min(max(level, float32(0)), float32(255))) * FINE
    low = int(at)
    return table[low] + (at - low) * (table[low + 1] - table[low])


@kernel
def cube_root(x: float) -> float:
    """Of 0.008 < x <= 1.1: Newton's steps from a straight line."""
    y = 0.3 + 0.7 * x
    for _ in range(5):
        y -= (y * y * y - x) / (3.0 * y * y)
    return y


@kernel
def folded(t: float) -> float:
    """The f of CIE's definition, exact (6/29)^3."""
    return cube_root(t) if t > 216.0 / 24389.0 else t * (841.0 / 108.0) + 4.0 / 29.0


@kernel
def to_lab(planes: Any, table: Any, first: int, second: int, third: int) -> None:
    """Levels -> L, a, b; plane c becomes number first, second, third of them, -1: left as it is."""
    r, g, b = planes[0], planes[1], planes[2]
    values = np.empty(3)
    for i in range(r.size):
        red, green, blue = light(table, r[i]), light(table, g[i]), light(table, b[i])
        x = folded((0.412453 * red + 0.357580 * green + 0.180423 * blue) / 0.95047)
        y = folded(0.212671 * red + 0.715160 * green + 0.072169 * blue)
        z = folded((0.019334 * red + 0.119193 * green + 0.950227 * blue) / 1.08883)
        values[0], values[1], values[2] = 116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)
        if first >= 0:
            r[i] = values[first]
        if second >= 0:
            g[i] = values[second]
        if third >= 0:
            b[i] = values[third]


@kernel
def sobel(planes: Any, height: int, width: int, wr: float, wg: float, wb: float, spare: Any) -> None:
    """Planes 0 and 1 become the gray picture's gradients to the right and downwards, zeros around. spare (>= (h+2)(w+2),)."""
    r, g, b = planes[0], planes[1], planes[2]
    for i in range(r.size):
        r[i] = wr * r[i] + wg * g[i] + wb * b[i]
    wide = width + 2
    window(r, height, width, -1, -1, height + 2, wide, False, spare)
    for y in range(height):
        for x in range(width):
            at = (y + 1) * wide + x + 1
            up, down, left, right = at - wide, at + wide, at - 1, at + 1
            r[y * width + x] = ((spare[up + 1] - spare[up - 1]) + float32(2) * (spare[right] - spare[left])
                                + (spare[down + 1] - spare[down - 1]))
            g[y * width + x] = ((spare[down - 1] - spare[up - 1]) + float32(2) * (spare[down] - spare[up])
                                + (spare[down + 1] - spare[up + 1]))
