"""CIE Lab and gradients on planes (3, n) of float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32

from ....augment import laws
from .cache import kernel
from .geometry import window

FINE, FOLDS = 16, 16384
"""Steps of the first table within one level, and of the second over [0, 1]; between them both are linear, which is 3e-8 and
4e-7 off."""
EDGE = 255 * FINE + 2
"""Where the second table begins."""


def lab_tables() -> np.ndarray:
    """(EDGE + FOLDS + 2,) float32: the linear light of levels 0, 1 / FINE, ..., 255, and one more of the last; then CIE's f of
    0, 1 / FOLDS, ..., 1, and one more of the last."""
    v = np.minimum(np.arange(EDGE), 255 * FINE) / (255.0 * FINE)
    light = np.where(v > 0.04045, laws.exp(2.4 * laws.log((v + 0.055) / 1.055)), v / 12.92)
    t = np.minimum(np.arange(FOLDS + 2), FOLDS) / FOLDS
    root = laws.exp(laws.log(np.maximum(t, 1e-9)) / 3)
    folded = np.where(t > 216 / 24389, root, t * (841 / 108) + 4 / 29)
    return np.concatenate([light, folded]).astype(np.float32)


@kernel
def between(table: Any, at: float) -> float:
    """The table's value at a place between two entries."""
    low = int(at)
    return table[low] + (at - float32(low)) * (table[low + 1] - table[low])


@kernel
def to_lab(planes: Any, tables: Any) -> None:
    """Levels -> L, a, b, in float32."""
    r, g, b = planes[0], planes[1], planes[2]
    light, folded = tables[:EDGE], tables[EDGE:]
    fine, folds, top, one = float32(FINE), float32(FOLDS), float32(255), float32(1)
    m00, m01, m02 = float32(0.412453 / 0.95047), float32(0.357580 / 0.95047), float32(0.180423 / 0.95047)
    m10, m11, m12 = float32(0.212671), float32(0.715160), float32(0.072169)
    m20, m21, m22 = float32(0.019334 / 1.08883), float32(0.119193 / 1.08883), float32(0.950227 / 1.08883)
    for i in range(r.size):
        red = between(light, min(max(r[i], float32(0)), top) * fine)
        green = between(light, min(max(g[i], float32(0)), top) * fine)
        blue = between(light, min(max(b[i], float32(0)), top) * fine)
        x = between(folded, min(m00 * red + m01 * green + m02 * blue, one) * folds)
        y = between(folded, min(m10 * red + m11 * green + m12 * blue, one) * folds)
        z = between(folded, min(m20 * red + m21 * green + m22 * blue, one) * folds)
        r[i] = float32(116) * y - float32(16)
        g[i] = float32(500) * (x - y)
        b[i] = float32(200) * (y - z)


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
