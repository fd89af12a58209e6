"""sRGB levels to CIE Lab (1976, D65, 2 degree observer) and back.

Sources: IEC 61966-2-1 (gamma); CIE 15 (Lab, with the exact (6/29)^3); the matrix of six digits is scikit-image's and kornia's.
"""

from __future__ import annotations

import torch
from torch import Tensor

# kornia.color.rgb_to_lab has the same convention (within 0.0002: its (6/29)^3 has fewer digits) and can be traced, but multiplies
# by the matrix in an einsum or convolution: off by 2.7 under autocast to bfloat16 (measured), by 0.06 in TF32, torch's default
# for convolutions on a GPU (both factors rounded to 10 bits), and for 1.7 times the CPU time. Sums of products written out
# are float32 everywhere.
TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""Linear RGB in [0, 1] to XYZ, where white has Y = 1."""
FROM_XYZ = ((3.240481343200526, -1.537151516271318, -0.498536326168888),
            (-0.969254949996568, 1.875990001489891, 0.041555926558293),
            (0.055646639135177, -0.204041338366511, 1.057311069645344))
"""The inverse of TO_XYZ."""
WHITE = (0.95047, 1.0, 1.08883)
DELTA = 6 / 29
"""The cube root becomes a line below DELTA**3."""


def rgb_to_lab(levels: Tensor) -> Tensor:
    """levels (..., 3, H, W), red, green, blue in 0..255 -> (..., 3, H, W) float32: L in 0..100, a and b within -110..110."""
    v = levels.float() / 255
    linear = torch.where(v > 0.04045, ((v + 0.055) / 1.055) ** 2.4, v / 12.92)
    x, y, z = (_root(c) for c in _mixed(linear, TO_XYZ, (1 / WHITE[0], 1 / WHITE[1], 1 / WHITE[2])))
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), -3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """(..., 3, H, W) -> levels (..., 3, H, W), float32, not rounded; colours that no screen shows are clamped to 0..255."""
    lightness, a, b = lab.float().unbind(-3)
    y = (lightness + 16) / 116
    xyz = torch.stack([_cube(f) * w for f, w in zip((y + a / 500, y, y - b / 200), WHITE, strict=True)], -3)
    linear = torch.stack(_mixed(xyz, FROM_XYZ), -3).clamp(0, 1)
    v = torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, linear * 12.92)
    return v * 255


def _mixed(planes: Tensor, matrix: tuple[tuple[float, ...], ...], scale: tuple[float, ...] = (1.0, 1.0, 1.0)) -> list[Tensor]:
    """Rows of the matrix, each times its scale, on the three planes of (..., 3, H, W)."""
    p, q, r = planes.unbind(-3)
    return [p * (k[0] * s) + q * (k[1] * s) + r * (k[2] * s) for k, s in zip(matrix, scale, strict=True)]


def _root(t: Tensor) -> Tensor:
    return torch.where(t > DELTA**3, t.clamp(min=DELTA**3) ** (1 / 3), t / (3 * DELTA**2) + 4 / 29)


def _cube(f: Tensor) -> Tensor:
    return torch.where(f > DELTA, f**3, 3 * DELTA**2 * (f - 4 / 29))
