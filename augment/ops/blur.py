"""Blur: Pillow's three boxes, or a Gaussian of a stated number of taps.

Sources: Pillow's ImageFilter.GaussianBlur (Gwosdek et al. 2011, extended box); SimCLR, arXiv:2002.05709, 23 taps with
zero border; torchvision's gaussian_blur, reflecting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op
from .batched import acting, coin, one_by_one, where

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Blur(Op):
    """p: the chance, in `scope`; sigma_px: uniform in the range, in sigma_scope. kind "pillow": three box passes an axis,
    border repeated; "gaussian": `taps` weights exp(-k^2 / 2 sigma^2) scaled to sum 1, border "reflect" (the edge pixel
    not repeated), "replicate" or "zero". Parameters: apply (N,) bool, sigma_px (N,) float32.
    """

    type: ClassVar[str] = "blur"
    optional: ClassVar[frozenset[str]] = frozenset({"taps", "share"})

    p: float | None = fields.probability(0.5)
    kind: str | None = fields.one_of("pillow", "pillow", "gaussian")
    sigma_px: tuple[float, float] | None = fields.span((0.1, 2.0), 0, above=True)
    sigma_scope: str | None = fields.scope()
    taps: int | None = fields.odd()
    border: str | None = fields.one_of("replicate", "replicate", "zero", "reflect")
    scope: str | None = fields.scope()
    share: str | None = fields.text()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "pillow" and self.border not in (None, "replicate"):
            raise ValueError(f"blur.border needs 'replicate' for kind 'pillow' (it repeats the border), got {self.border!r}")

    def unstated(self) -> tuple[str, ...]:
        return (*super().unstated(), *(("taps",) if self.kind == "gaussian" and self.taps is None else ()))

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.sigma_px is not None
        u = chance.uniforms(1, scope=str(self.sigma_scope), part="sigma_px")[:, 0]
        return {"apply": coin(chance, self.p, self.scope),
                "sigma_px": laws.uniform(u, *self.sigma_px).astype(np.float32)}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        return f"blur {params['sigma_px'][row]:.2f} px" if params["apply"][row] else ""

    @property
    def _passes(self) -> int:
        return 3 if self.kind == "pillow" else 1

    def _weights(self, sigma_px: Tensor, largest: float) -> Tensor:
        """(N, taps) float64 of one pass; largest: no sigma is above it."""
        if self.kind == "pillow":
            return box_weights(sigma_px, box_reach(largest))
        assert self.taps is not None
        return _gaussian(sigma_px, self.taps)

    def apply(self, images: Images, params: OpParams) -> Images:
        """On a GPU and in a traced graph no sigma may be above the field's range, which fixes the number of taps."""
        import torch

        assert not isinstance(images, list) and self.sigma_px is not None
        if one_by_one(images, *params.values()):
            return self.apply_(images.clone(), params)
        weights = self._weights(torch.as_tensor(params["sigma_px"], device=images.device), self.sigma_px[1])
        blurred = images
        for axis in (3, 2):
            for _ in range(self._passes):
                blurred = fir(blurred, weights.to(images.dtype), axis, str(self.border))
        return where(params["apply"], blurred, images)

    def apply_(self, images: Tensor, params: OpParams) -> Tensor:
        """In place; only the images that are blurred, a few at a time."""
        import torch

        sigma_px = torch.as_tensor(params["sigma_px"])
        rows = sorted(acting(params["apply"]), key=sigma_px.tolist().__getitem__)  # few taps with few
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start:start + AT_ONCE]
            weights = self._weights(sigma_px[some], float(sigma_px[some[-1]]))
            with torch.autocast("cpu", enabled=False):
                images[some] = banded(images[some], weights, self._passes, str(self.border))
        return images


AT_ONCE = 16
"""Images whose planes still share a cache."""


def box_reach(sigma_px: float) -> int:
    """How far a box of `box_weights` reaches for this sigma or a smaller one."""
    return int((12 * float(np.float32(sigma_px)) ** 2 / 3 + 1) ** 0.5 - 1) // 2 + 1


def box_weights(sigma_px: Tensor, reach: int) -> Tensor:
    """(N,) -> (N, 2 reach + 1) float64: a box with fractional ends whose variance is sigma^2 / 3; three of them make the
    blur."""
    import torch

    variance = (sigma_px * sigma_px).to(torch.float64)[:, None] / 3
    whole = ((torch.sqrt(12.0 * variance + 1) - 1) / 2).floor()
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    full = 1 / (2 * (whole + part) + 1)
    k = torch.arange(-reach, reach + 1, device=sigma_px.device).abs()
    return torch.where(k <= whole, full, torch.where(k == whole + 1, full * part, 0.0))


def gaussian_weights(sigma_px: np.ndarray, taps: int) -> np.ndarray:
    """(N,) -> (N, taps) float64 with sum 1, equal to the last bit on every machine: what the kernels are given."""
    k = np.arange(taps) - taps // 2
    weights = laws.exp(np.maximum(-(k**2) / (2 * np.square(sigma_px, dtype=np.float64)[:, None]), -600.0))
    return weights / weights.sum(1, keepdims=True)


def _gaussian(sigma_px: Tensor, taps: int) -> Tensor:
    """The same in torch."""
    import torch

    k = torch.arange(taps, dtype=torch.float64, device=sigma_px.device) - taps // 2
    weights = torch.exp((-(k**2) / (2 * sigma_px.to(torch.float64)[:, None] ** 2)).clamp(min=-600.0))
    return weights / weights.sum(1, keepdim=True)


def fir(images: Tensor, weights: Tensor, axis: int, border: str) -> Tensor:
    """Filter each image (N, C, H, W) along an axis with its own symmetric weights (N, taps)."""
    import torch

    reach = weights.shape[1] // 2
    size = images.shape[axis]
    at = border_index(size, reach, border).to(images.device)
    padded = images.index_select(axis, at.clamp(min=0))
    if border == "zero":
        padded = torch.where((at >= 0).reshape([-1 if a == axis else 1 for a in range(4)]), padded, 0.0)
    w = weights.reshape(-1, 2 * reach + 1, 1, 1, 1)
    out = w[:, reach] * images
    for k in range(1, reach + 1):
        out = out + w[:, reach + k] * (padded.narrow(axis, reach - k, size) + padded.narrow(axis, reach + k, size))
    return out


def banded(images: Tensor, weights: Tensor, passes: int, border: str) -> Tensor:
    """`fir` that many times along both axes, as products of blocks of rows with narrow bands of one matrix per image."""
    import torch

    wide = passes * (weights.shape[1] // 2)
    block = max(BLOCK, 2 * wide)
    matrices: dict[int, Tensor] = {}
    for axis in (2, 3):
        size = images.shape[axis]
        short = min(size, 3 * block)
        if short not in matrices:
            matrices[short] = passes_matrix(weights, short, passes, border).to(images.dtype)
        out = torch.empty_like(images, memory_format=torch.contiguous_format)
        for start in range(0, size, block):
            stop = min(start + block, size)
            low, high = max(start - wide, 0), min(stop + wide, size)
            # Where the same rows stand in the short matrix: at its start, its end, or between, where all are alike.
            by = 0 if start == 0 else short - size if high == size else block - start
            band = matrices[short][:, start + by:stop + by, low + by:high + by]
            if axis == 2:
                out[:, :, start:stop] = band[:, None] @ images[:, :, low:high]
            else:
                rows = images.reshape(len(images), -1, size)[:, :, low:high] @ band.mT
                out.flatten(1, 2)[:, :, start:stop] = rows
        images = out
    return images


BLOCK = 16
"""Rows of a product: longer ones multiply more zeros."""


def passes_matrix(weights: Tensor, size: int, passes: int, border: str) -> Tensor:
    """(N, taps) -> (N, size, size) float64: that many passes of `fir` over an axis. Between the borders all rows are alike, so
    the product is taken on an axis just long enough, and its middle row repeated."""
    import torch

    reach = passes * (weights.shape[1] // 2)
    small = min(size, 4 * reach + 1)
    once = border_matrix(weights, small, border)
    product = once
    for _ in range(passes - 1):
        product = product @ once
    if small == size:
        return product
    i = torch.arange(size)
    row = torch.where(i < 2 * reach, i, torch.where(i >= size - 2 * reach, i + small - size, 2 * reach))[:, None]
    column = i - i[:, None] + row
    inside = (column >= 0) & (column < small)
    return torch.where(inside, product.flatten(1)[:, torch.where(inside, row * small + column, 0)], 0.0)


def border_matrix(weights: Tensor, size: int, border: str) -> Tensor:
    """(N, taps) -> (N, size, size) float64: one pass of `fir` over an axis of that size."""
    import torch

    taps = weights.shape[1]
    at = border_index(size, taps // 2, border).unfold(0, taps, 1).expand(len(weights), -1, -1)
    values = torch.where(at >= 0, weights[:, None], 0.0)
    return weights.new_zeros(len(weights), size, size).scatter_add_(2, at.clamp(min=0), values)


def border_index(size: int, reach: int, border: str) -> Tensor:
    """(size + 2 reach,) int64: which pixel stands at each place from -reach on; -1: none, a zero."""
    import torch

    at = torch.arange(-reach, size + reach)
    if border == "replicate":
        return at.clamp(0, size - 1)
    if border == "zero":
        return torch.where((at >= 0) & (at < size), at, -1)
    if size == 1:
        return torch.zeros_like(at)
    period = 2 * (size - 1)
    return ((at + (size - 1)) % period - (size - 1)).abs()
