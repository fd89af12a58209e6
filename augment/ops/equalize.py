"""A flat histogram of each channel. Source: Pillow's ImageOps.equalize."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op
from .batched import coin, where

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Equalize(Op):
    """With chance p, each channel, rounded to levels, is equalized by its histogram. Parameters: apply (N,) bool."""

    type: ClassVar[str] = "equalize"

    p: float | None = fields.probability(0.2)
    scope: str | None = fields.scope()

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        return {"apply": coin(chance, self.p, self.scope)}, size_hw

    def apply(self, images: Images, params: OpParams) -> Images:
        assert not isinstance(images, list)
        return where(params["apply"], equalize(images), images)


def equalize(images: Tensor) -> Tensor:
    """Level i becomes (step // 2 + pixels below i) // step, step = (pixels - those of the highest level) // 255, in whole
    numbers; a channel of step 0 is only rounded."""
    import torch

    levels = torch.floor(images + 0.5).clamp(0, 255).to(torch.int64).flatten(2)
    counts = levels.new_zeros((*levels.shape[:2], 256)).scatter_add(2, levels, torch.ones_like(levels))
    highest = counts.gather(2, levels.amax(2, keepdim=True))
    step = (levels.shape[2] - highest) // 255
    below = counts.cumsum(2) - counts
    table = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    return torch.where(step > 0, table.gather(2, levels), levels).to(images.dtype).reshape(images.shape)
