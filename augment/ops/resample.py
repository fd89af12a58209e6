"""Cut a box and resize it: the arithmetic that every engine repeats.

Antialiased: Pillow's. The filter is stretched by the shrink factor and cut at the box; each of the two passes works in
22-bit fixed point and is rounded half up and clipped to 0..255, so the result equals Pillow 13 byte for byte.
Not antialiased: two or four taps at half-pixel centres, indices held inside the box, rounded once after both passes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from ..op import Images

FIXED_BITS = 22
HALF_WIDTH = {"bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}


def kernel(filter: str, t: np.ndarray, cubic_a: float = -0.5) -> np.ndarray:
    """The filter's weight at distance t (in output pixels)."""
    t = np.abs(t)
    if filter == "bilinear":
        return np.maximum(1 - t, 0)
    if filter == "bicubic":
        near = ((cubic_a + 2) * t - (cubic_a + 3)) * t * t + 1
        return np.where(t < 1, near, np.where(t < 2, ((t - 5) * t + 8) * t * cubic_a - 4 * cubic_a, 0))
    return np.where(t < 3, np.sinc(t) * np.sinc(t / 3), 0)


@lru_cache(maxsize=4096)
def antialiased_matrix(length: int, out: int, filter: str, cubic_a: float = -0.5) -> np.ndarray:
    """(out, length) float64 whole numbers: weights times 2**22."""
    stretch = max(length / out, 1.0)
    center = (np.arange(out)[:, None] + 0.5) * (length / out)
    support = HALF_WIDTH[filter] * stretch
    first = np.maximum((center - support + 0.5).astype(int), 0)
    last = np.minimum((center + support + 0.5).astype(int), length)
    index = np.arange(length)[None]
    weights = np.where((index >= first) & (index < last), kernel(filter, (index - center + 0.5) / stretch, cubic_a), 0.0)
    weights /= weights.sum(1, keepdims=True)
    return np.trunc(weights * 2.0**FIXED_BITS + np.copysign(0.5, weights))


@lru_cache(maxsize=4096)
def interpolating_matrix(length: int, out: int, filter: str, cubic_a: float) -> np.ndarray:
    """(out, length) float64: taps at half-pixel centres, those outside the box moved onto its border."""
    if filter == "lanczos":
        raise ValueError("crop.filter 'lanczos' needs antialias true: no source interpolates with it")
    center = (np.arange(out) + 0.5) * length / out - 0.5
    if filter == "bilinear":
        center = np.maximum(center, 0)
    base = np.floor(center).astype(int)
    weights = np.zeros((out, length))
    for k in (0, 1) if filter == "bilinear" else (-1, 0, 1, 2):
        np.add.at(weights, (np.arange(out), np.clip(base + k, 0, length - 1)), kernel(filter, center - (base + k), cubic_a))
    return weights


def vertical_first(box_hw: tuple[int, int], out_hw: tuple[int, int]) -> bool:
    """Since Pillow 13 the vertical pass goes first where the height shrinks by much more than the width."""
    return box_hw[0] - out_hw[0] > 2 * max(box_hw[1] - out_hw[1], 0)


def crop_resize(images: Images, box: np.ndarray, out_hw: tuple[int, int], filter: str, antialias: bool,
                cubic_a: float = -0.5) -> Tensor:
    """Levels in, whole levels out. images (N, C, H, W) or a list of (C, H, W); box (N, 4) top, left, height, width
    -> (N, C, *out_hw) float32."""
    import torch

    out = []
    for image, (top, left, height, width) in zip(images, np.asarray(box).tolist(), strict=True):
        part = cut(image, top, left, height, width)
        out.append(resize(part, out_hw, filter, antialias, cubic_a))
    return torch.stack(out) if out else torch.empty((0, 3, *out_hw))


def cut(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """(C, height, width) of an image (C, H, W); what lies outside it is 0."""
    from torch.nn.functional import pad

    _, rows, columns = image.shape
    inside = image[:, max(top, 0):max(top + height, 0), max(left, 0):max(left + width, 0)]
    edges = (max(-left, 0), max(left + width - columns, 0), max(-top, 0), max(top + height - rows, 0))
    return pad(inside, edges) if any(edges) else inside


def resize(image: Tensor, out_hw: tuple[int, int], filter: str, antialias: bool, cubic_a: float = -0.5) -> Tensor:
    """(C, H, W) levels -> (C, *out_hw) whole levels, float32."""
    import torch

    box_hw = (image.shape[1], image.shape[2])
    x = image.to(torch.float64)
    for axis in (0, 1) if vertical_first(box_hw, out_hw) else (1, 0):
        if box_hw[axis] == out_hw[axis]:
            continue
        matrix = antialiased_matrix if antialias else interpolating_matrix
        weights = torch.from_numpy(matrix(box_hw[axis], out_hw[axis], filter, cubic_a)).to(x.device)
        x = torch.einsum("oh,chw->cow", weights, x) if axis == 0 else torch.einsum("ow,chw->cho", weights, x)
        if antialias:
            x = torch.floor((x + 2.0 ** (FIXED_BITS - 1)) / 2.0**FIXED_BITS).clamp(0, 255)
    return x.round().clamp(0, 255).to(torch.float32)
