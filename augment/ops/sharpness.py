"""Blend with the smoothed image. Source: Pillow's ImageEnhance.Sharpness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op
from .batched import coin, column, where
from .jitter import blend

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Sharpness(Op):
    """With chance p, a factor uniform in the range: 0 the smoothed image, 1 the image, 2 sharper.

    Parameters, both (N,): apply bool, factor float32.
    """

    type: ClassVar[str] = "sharpness"

    p: float | None = fields.probability(0.2)
    factor: tuple[float, float] | None = fields.span((0.0, 2.0), 0)
    scope: str | None = fields.scope()

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.factor is not None
        u = chance.uniforms(1, scope=str(self.scope), part="factor")[:, 0]
        return {"apply": coin(chance, self.p, self.scope), "factor": laws.uniform(u, *self.factor).astype(np.float32)}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        return f"sharpness {params['factor'][row]:.2f}" if params["apply"][row] else ""

    def apply(self, images: Images, params: OpParams) -> Images:
        assert not isinstance(images, list)
        return where(params["apply"], sharpen(images, column(params["factor"], images)), images)


def sharpen(images: Tensor, factor: Tensor) -> Tensor:
    """Away from the smoothed image by factor (N, 1, 1, 1), clamped."""
    return blend(smooth(images), images, factor).clamp(0, 255)


def smooth(images: Tensor) -> Tensor:
    """Pillow's SMOOTH: 3 x 3, the centre 5 and the others 1, over 13, rounded to levels; the outermost rows and columns stay."""
    import torch

    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    out = images.clone()
    out[:, :, 1:-1, 1:-1] = torch.floor((sums + 4 * images[:, :, 1:-1, 1:-1]) / 13 + 0.5)
    return out
