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
            matrix = passes_matrix(weights, images.shape[axis], self._passes, str(self.border))
            blurred = in_one_pass(blurred, matrix.to(images.dtype), axis)
        return where(params["apply"], blurred, images)

    def apply_(self, images: Tensor, params: OpParams) -> Tensor:
        """In place; only the images that are blurred, a few at a time."""
        import torch

        sigma_px = torch.as_tensor(params["sigma_px"])
        rows = acting(params["apply"])
        reaches = [box_reach(sigma) if self.kind == "pillow" else 0 for sigma in sigma_px.tolist()]
        at_once = max(CACHED_PX // max(images.shape[2] * images.shape[3], 1), 1)
        for reach in {reaches[row] for row in rows}:  # few taps with few
            alike = torch.tensor([row for row in rows if reaches[row] == reach])
            weights = self._weights(sigma_px[alike], float(sigma_px[alike].max()))
            matrices = [passes_matrix(weights, size, self._passes, str(self.border)).to(images.dtype)
                        for size in images.shape[2:]]
            for some in range(0, len(alike), at_once):
                part, index = slice(some, some + at_once), alike[some:some + at_once]
                taken = images.index_select(0, index)
                for axis, matrix in zip((2, 3), matrices, strict=True):
                    taken = in_one_pass(taken, matrix[part], axis)
                images.index_copy_(0, index, taken)
        return images


CACHED_PX = 2**17
"""Pixels of the images that are blurred at once, and stay in the cache."""


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


def passes_matrix(weights: Tensor, size: int, passes: int, border: str) -> Tensor:
    """(N, taps) -> (N, S, S) float64: that many passes of a filter over an axis, each with the border continued anew; on one
    of S <= size pixels that has a row which no border touches."""
    reach = passes * (weights.shape[1] // 2)
    once = border_matrix(weights, min(size, 4 * reach + 1), border)
    product = once
    for _ in range(passes - 1):
        product = product @ once
    return product


def in_one_pass(images: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """What the matrix of `passes_matrix` stands for, along an axis of images (N, C, H, W): the taps of its middle row, except
    near the borders."""
    import torch

    size, short = images.shape[axis], matrix.shape[1]
    if size == short:
        return times(matrix, images, axis)
    reach = short // 4
    taps = matrix[:, 2 * reach, reach:3 * reach + 1, None, None, None].unbind(1)
    within = size - 2 * reach
    middle = images.narrow(axis, 0, within) * taps[0]
    for k in range(1, 2 * reach + 1):
        middle.addcmul_(images.narrow(axis, k, within), taps[k])
    start = times(matrix[:, :reach, :2 * reach], images.narrow(axis, 0, 2 * reach), axis)
    end = times(matrix[:, -reach:, -2 * reach:], images.narrow(axis, within, 2 * reach), axis)
    return torch.cat([start, middle, end], axis)


def times(matrices: Tensor, images: Tensor, axis: int) -> Tensor:
    """Each image's matrix (N, out, size) along an axis of its planes."""
    import torch

    with torch.autocast(images.device.type, enabled=False):
        return matrices[:, None] @ images if axis == 2 else images @ matrices[:, None].mT


def border_matrix(weights: Tensor, size: int, border: str) -> Tensor:
    """(N, taps) -> (N, size, size) float64: one pass over an axis of that size."""
    import torch

    taps = weights.shape[1]
    at = border_index(size, taps // 2, border).to(weights.device).unfold(0, taps, 1).expand(len(weights), -1, -1)
    values = torch.where(at >= 0, weights[:, None], 0.0)
    return weights.new_zeros(len(weights), size, size).scatter_add(2, at.clamp(min=0), values)


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
