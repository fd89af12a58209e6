"""Cut a box and resize it: the arithmetic that every engine repeats.

Antialiased: Pillow's. The filter is stretched by the shrink factor and cut at the box; each of the two passes works in
22-bit fixed point and is rounded half up and clipped to 0..255, so the result equals Pillow 13 byte for byte.
A box may lie between pixels, [start, start + length) of a scaled image: taps lie in the whole pixels that it touches.
Not antialiased: two or four taps at half-pixel centres, indices held inside the box, rounded once after both passes.
Where gradients flow, a rounding passes them through unchanged.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .batched import one_by_one, passed_through

if TYPE_CHECKING:
    from torch import Tensor

    from ..op import Images

FIXED_BITS = 22
HALF_WIDTH = {"bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}


def kernel(filter: str, t: Tensor, cubic_a: float = -0.5) -> Tensor:
    """The filter's weight at distance t (in output pixels)."""
    import torch

    t = t.abs()
    if filter == "bilinear":
        return (1 - t).clamp(min=0)
    if filter == "bicubic":
        near = ((cubic_a + 2) * t - (cubic_a + 3)) * t * t + 1
        far = ((t - 5) * t + 8) * t * cubic_a - 4 * cubic_a
        return torch.where(t < 1, near, torch.where(t < 2, far, 0.0))
    return torch.where(t < 3, torch.sinc(t) * torch.sinc(t / 3), 0.0)


def antialiased(start: Tensor, length: Tensor, size: int, out: int, filter: str, cubic_a: float = -0.5) -> Tensor:
    """(N, out, size) float64 whole numbers: weights times 2**22 with which pixels 0..size-1 make each output pixel.
    start, length (N,): the box along this axis, inside 0..size, whole or not."""
    import torch

    start, length = (v.to(torch.float64).reshape(-1, 1, 1) for v in (start, length))
    step = length / out
    stretch = step.clamp(min=1)
    within, end = start - start.floor(), start + length
    start = start.floor()
    length = end.ceil() - start
    center = within + (_arange(out, start)[:, None] + 0.5) * step
    support = HALF_WIDTH[filter] * stretch
    first = (center - support + 0.5).trunc().clamp(min=0)
    last = torch.minimum((center + support + 0.5).trunc(), length)
    index = _arange(size, start) - start
    weights = torch.where((index >= first) & (index < last), kernel(filter, (index - center + 0.5) / stretch, cubic_a), 0.0)
    weights = weights / weights.sum(2, keepdim=True)
    return torch.trunc(weights * 2.0**FIXED_BITS + torch.where(weights < 0, -0.5, 0.5))


def interpolating(start: Tensor, length: Tensor, size: int, out: int, filter: str, cubic_a: float = -0.5) -> Tensor:
    """(N, out, size) float64 weights: taps at half-pixel centres, those outside the box moved onto its border."""
    import torch

    if filter == "lanczos":
        raise ValueError("crop.filter 'lanczos' needs antialias true: no source interpolates with it")
    start, length = (v.to(torch.float64).reshape(-1, 1, 1) for v in (start, length))
    center = (_arange(out, start)[:, None] + 0.5) * length / out - 0.5
    if filter == "bilinear":
        center = center.clamp(min=0)
    base = center.floor()
    index = _arange(size, start) - start
    weights = torch.zeros((), dtype=torch.float64, device=start.device)
    for k in (0, 1) if filter == "bilinear" else (-1, 0, 1, 2):
        at = torch.minimum((base + k).clamp(min=0), length - 1)
        weights = weights + torch.where(index == at, kernel(filter, center - (base + k), cubic_a), 0.0)
    return weights


def _arange(count: int, like: Tensor) -> Tensor:
    import torch

    return torch.arange(count, dtype=torch.float64, device=like.device)


@lru_cache(maxsize=4096)
def _matrix(start: float, length: float, size: int, out: int, filter: str, antialias: bool, cubic_a: float) -> np.ndarray:
    """(1, out, size): the weights of an axis. NumPy's, since a tensor kept from inference mode is of no use outside."""
    import torch

    law = antialiased if antialias else interpolating
    begin, span = torch.tensor([start, length], dtype=torch.float64).split(1)
    return law(begin, span, size, out, filter, cubic_a).numpy()


def vertical_first(box_hw: tuple[float, float], out_hw: tuple[int, int]) -> bool:
    """Since Pillow 13 the vertical pass goes first where the height shrinks by much more than the width."""
    return box_hw[0] - out_hw[0] > 2 * max(box_hw[1] - out_hw[1], 0)


def crop_resize(images: Images, box: Any, out_hw: tuple[int, int], filter: str, antialias: bool,
                cubic_a: float = -0.5) -> Tensor:
    """Levels in, whole levels out. images (N, C, H, W) or a list of (C, H, W); box (N, 4) top, left, height, width
    -> (N, C, *out_hw) float32. Boxes lie inside the images; where a list's do not, zeros stand outside. Antialiased ones need
    not be whole."""
    import torch

    if isinstance(images, list) or one_by_one(images):
        out = [_cut_and_resize(image, each, out_hw, filter, antialias, cubic_a)
               for image, each in zip(images, torch.as_tensor(box).tolist(), strict=True)]
        return torch.stack(out) if out else torch.empty((0, 3, *out_hw))
    return _batch_resize(images, torch.as_tensor(box, device=images.device), out_hw, filter, antialias, cubic_a)


def _cut_and_resize(image: Tensor, box: list[float], out_hw: tuple[int, int], filter: str, antialias: bool,
                    cubic_a: float) -> Tensor:
    top, left, bottom, right = (math.floor(box[0]), math.floor(box[1]), math.ceil(box[0] + box[2]), math.ceil(box[1] + box[3]))
    touched = cut(image, top, left, bottom - top, right - left)
    return resize(touched, out_hw, filter, antialias, cubic_a, (box[0] - top, box[1] - left, box[2], box[3]))


def cut(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """(C, height, width) of an image (C, H, W); what lies outside it is 0."""
    from torch.nn.functional import pad

    _, rows, columns = image.shape
    inside = image[:, max(top, 0):max(top + height, 0), max(left, 0):max(left + width, 0)]
    edges = (max(-left, 0), max(left + width - columns, 0), max(-top, 0), max(top + height - rows, 0))
    return pad(inside, edges) if any(edges) else inside


def windows(images: Tensor, box: Any, out_hw: tuple[int, int]) -> Tensor:
    """`cut` for a batch (N, C, H, W) whose boxes (N, 4) all have the sides out_hw -> (N, C, *out_hw)."""
    import torch

    if one_by_one(images):
        return torch.stack([cut(image, *each) for image, each in zip(images, torch.as_tensor(box).tolist(), strict=True)])
    box = torch.as_tensor(box, device=images.device)
    for axis in (0, 1):
        size = images.shape[2 + axis]
        at = box[:, axis, None] + torch.arange(out_hw[axis], device=images.device)
        shape = (len(box), 1, -1, 1) if axis == 0 else (len(box), 1, 1, -1)
        full = list(images.shape)
        full[2 + axis] = out_hw[axis]
        taken = images.gather(2 + axis, at.clamp(0, size - 1).long().reshape(shape).expand(full))
        images = torch.where(((at >= 0) & (at < size)).reshape(shape), taken, 0.0)
    return images


def resize(images: Tensor, out_hw: tuple[int, int], filter: str, antialias: bool, cubic_a: float = -0.5,
           box: tuple[float, float, float, float] | None = None) -> Tensor:
    """(C, H, W) or (N, C, H, W) levels, rounded half up first -> (..., *out_hw) whole levels, float32. box: top, left, height and
    width of the part that is meant, where that ends within the outermost pixels."""
    import torch

    size_hw = (images.shape[-2], images.shape[-1])
    corner, box_hw = (box[:2], box[2:]) if box is not None else ((0, 0), size_hw)
    x = _rounded(images.to(torch.float64))
    for axis in (0, 1) if vertical_first(box_hw, out_hw) else (1, 0):
        size, out = size_hw[axis], out_hw[axis]
        if box_hw[axis] == size == out:
            continue
        if torch.compiler.is_compiling():
            law = antialiased if antialias else interpolating
            whole = torch.tensor([size], device=x.device)
            weights = law(torch.zeros_like(whole), whole, size, out, filter, cubic_a)[0]
        else:
            kept = _matrix(corner[axis], box_hw[axis], size, out, filter, antialias, cubic_a)
            weights = torch.from_numpy(kept).to(x.device)[0]
        x = weights @ x if axis == 0 else x @ weights.mT
        if antialias:
            x = _rounded(x / 2.0**FIXED_BITS)
    return passed_through(x.round(), x).clamp(0, 255).to(torch.float32)


def _batch_resize(images: Tensor, box: Tensor, out_hw: tuple[int, int], filter: str, antialias: bool, cubic_a: float) -> Tensor:
    """Each image's own box, by dense weights over the whole image: no size depends on a parameter."""
    import torch
    from torch.nn.functional import pad

    images = _rounded(images)
    height, width = images.shape[2:]
    law = antialiased if antialias else interpolating
    rows = law(box[:, 0], box[:, 2], height, out_hw[0], filter, cubic_a)
    columns = law(box[:, 1], box[:, 3], width, out_hw[1], filter, cubic_a)
    if not antialias:
        x = rows[:, None] @ (images.to(torch.float64) @ columns[:, None].mT)
        return passed_through(x.round(), x).clamp(0, 255).to(torch.float32)
    if height <= out_hw[0]:  # then no box shrinks in height, and none has the vertical pass first
        return _fixed_point(_fixed_point(images, columns).mT, rows).mT.contiguous()
    # Samples whose vertical pass comes first lie on their side meanwhile, so that both orders cost one.
    side, out = max(height, width), max(out_hw)
    x = images if height == width else pad(images, (0, side - width, 0, side - height))
    rows = pad(rows, (0, side - height, 0, out - out_hw[0]))
    columns = pad(columns, (0, side - width, 0, out - out_hw[1]))
    shrink = box[:, 2:] - torch.tensor(out_hw, device=box.device)
    upright = (shrink[:, 0] <= 2 * shrink[:, 1].clamp(min=0)).reshape(-1, 1, 1)
    first, second = torch.where(upright, columns, rows), torch.where(upright, rows, columns)
    x = torch.where(upright[:, None], x, x.mT)
    x = _fixed_point(_fixed_point(x, first).mT, second)  # (N, C, along first, along second)
    x = torch.where(upright[:, None], x.mT, x)
    return x[:, :, :out_hw[0], :out_hw[1]].contiguous()


def _fixed_point(images: Tensor, weights: Tensor) -> Tensor:
    """One pass along the last axis: images (N, C, A, size) whole levels, weights (N, out, size) -> (N, C, A, out), the same.

    Products of whole numbers in two halves of 11 bits, so that float32 sums, and TF32's too, are exact; float64 is slow on
    most GPUs.
    """
    import torch

    high = (weights / 2.0**12).round()
    low = weights - high * 2.0**12
    x, high, low = images.to(torch.float32), high.to(torch.float32)[:, None], low.to(torch.float32)[:, None]
    with torch.autocast(images.device.type, enabled=False):
        total = (x @ high.mT).to(torch.float64) / 2.0**10 + (x @ low.mT).to(torch.float64) / 2.0**FIXED_BITS
    return _rounded(total).to(torch.float32)


def _rounded(levels: Tensor) -> Tensor:
    import torch

    return passed_through(torch.floor(levels + 0.5), levels).clamp(0, 255)
