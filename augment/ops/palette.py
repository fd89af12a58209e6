"""The nearest of a few colours. Source: iGPT (Chen et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams

_CHUNK = 1 << 24
"""Distances held at once: 64 MB."""


@dataclass(frozen=True, kw_only=True)
class Palette(Op):
    """colours: entries of the palette. The op says what the method will do by `nearest_colour`; pixels stay as they are,
    since the palette is learned from the data. No parameters."""

    type: ClassVar[str] = "palette"

    colours: int | None = fields.whole()
    distance: str | None = fields.one_of("squared-euclid", "squared-euclid")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        return {}, size_hw

    def apply(self, images: Images, params: OpParams) -> Images:
        return images


def nearest_colour(images: Tensor, palette: Tensor) -> Tensor:
    """images (N, 3, H, W), palette (K, 3) on the same scale -> (N, H, W) int64, the entry of least squared distance."""
    n, _, height, width = images.shape
    return _nearest(images.movedim(1, -1).reshape(-1, 3), palette)[0].reshape(n, height, width)


def fit_palette(pixels: Tensor, colours: int, seed: int, rounds: int = 50) -> Tensor:
    """pixels (P, 3) -> (colours, 3) float32: k-means from k-means++ seeds (Arthur & Vassilvitskii 2007), on the CPU.

    The same bits for the same pixels and seed on one machine. Needs at least `colours` different pixels.
    """
    import torch

    points = pixels.detach().double().cpu()
    generator = torch.Generator().manual_seed(seed)
    chosen = [points[int(torch.randint(len(points), (1,), generator=generator))]]
    away = (points - chosen[0]).square().sum(1)
    while len(chosen) < colours:
        if away.max() == 0:
            raise ValueError(f"fit_palette needs {colours} different colours, the pixels have {len(chosen)}")
        chosen.append(points[int(torch.multinomial(away, 1, generator=generator))])
        away = away.minimum((points - chosen[-1]).square().sum(1))
    centres = torch.stack(chosen)
    for _ in range(rounds):
        nearest, squared = _nearest(points, centres)
        size = torch.bincount(nearest, minlength=colours)
        moved = torch.zeros_like(centres).index_add_(0, nearest, points) / size.clamp(min=1)[:, None]
        empty = size == 0
        moved[empty] = points[squared.argsort(descending=True, stable=True)[:int(empty.sum())]]
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres.float()


def _nearest(pixels: Tensor, palette: Tensor) -> tuple[Tensor, Tensor]:
    """pixels (P, 3) -> the nearest entries (P,) and their squared distances. No product of matrices: it would cancel."""
    import torch

    parts = []
    for some in pixels.split(max(1, _CHUNK // len(palette))):
        squared = sum((some[:, None, c] - palette[None, :, c].to(some.dtype)).square() for c in range(3))
        parts.append(torch.min(squared, 1))
    return torch.cat([p.indices for p in parts]), torch.cat([p.values for p in parts])
