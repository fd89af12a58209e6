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
from .batched import coin, where

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

    def apply(self, images: Images, params: OpParams) -> Images:
        assert not isinstance(images, list)
        if self.kind == "pillow":
            weights, border, passes = box_weights(params["sigma_px"]), "replicate", 3
            axes = (3,) * passes + (2,) * passes
        else:
            assert self.taps is not None and self.border is not None
            weights, border, axes = gaussian_weights(params["sigma_px"], self.taps), self.border, (2, 3)
        blurred = images
        for axis in axes:
            blurred = fir(blurred, weights, axis, border)
        return where(params["apply"], blurred, images)


def box_weights(sigma_px: np.ndarray) -> np.ndarray:
    """(N,) -> (N, taps) float64: a box with fractional ends whose variance is sigma^2 / 3; three of them make the blur."""
    variance = np.square(sigma_px, dtype=np.float32).astype(np.float64) / 3
    whole = np.floor((np.sqrt(12.0 * variance + 1) - 1) / 2)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    full = 1 / (2 * (whole + part) + 1)
    reach = int(whole.max(initial=0)) + 1
    k = np.abs(np.arange(-reach, reach + 1))[None]
    return np.where(k <= whole[:, None], full[:, None], np.where(k == whole[:, None] + 1, (full * part)[:, None], 0.0))


def gaussian_weights(sigma_px: np.ndarray, taps: int) -> np.ndarray:
    """(N,) -> (N, taps) float64 with sum 1."""
    k = np.arange(taps) - taps // 2
    weights = laws.exp(np.maximum(-(k**2) / (2 * np.square(sigma_px, dtype=np.float64)[:, None]), -600.0))
    return weights / weights.sum(1, keepdims=True)


def fir(images: Tensor, weights: np.ndarray, axis: int, border: str) -> Tensor:
    """Filter each image (N, C, H, W) along an axis with its own weights (N, taps)."""
    import torch

    taps = weights.shape[1]
    at = border_index(images.shape[axis], taps // 2, border)
    w = torch.as_tensor(weights, dtype=images.dtype, device=images.device)
    index = torch.as_tensor(np.maximum(at, 0), device=images.device)
    padded = images.index_select(axis, index)
    if border == "zero":
        inside = torch.as_tensor(at >= 0, device=images.device)
        padded = padded * inside.reshape([-1 if a == axis else 1 for a in range(4)])
    size = images.shape[axis]
    out = torch.zeros_like(images)
    for k in range(taps):
        out = out + w[:, k].reshape(-1, 1, 1, 1) * padded.narrow(axis, k, size)
    return out


def border_index(size: int, reach: int, border: str) -> np.ndarray:
    """(size + 2 reach,) int64: which pixel stands at each place from -reach on; -1: none, a zero."""
    at = np.arange(-reach, size + reach)
    if border == "replicate":
        return np.clip(at, 0, size - 1)
    if border == "zero":
        return np.where((at >= 0) & (at < size), at, -1)
    if size == 1:
        return np.zeros_like(at)
    period = 2 * (size - 1)
    return np.abs((at + (size - 1)) % period - (size - 1))
