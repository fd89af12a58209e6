"""Each channel onto the full range. Source: Pillow's ImageOps.autocontrast."""

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
class Autocontrast(Op):
    """With chance p, each channel's darkest level becomes 0 and its brightest 255, linearly; a channel of one level stays.

    Parameters: apply (N,) bool.
    """

    type: ClassVar[str] = "autocontrast"

    p: float | None = fields.probability(0.2)
    scope: str | None = fields.scope()

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        return {"apply": coin(chance, self.p, self.scope)}, size_hw

    def apply(self, images: Images, params: OpParams) -> Images:
        assert not isinstance(images, list)
        return where(params["apply"], stretch(images), images)


def stretch(images: Tensor) -> Tensor:
    """Levels from [lowest, highest] of each image's channel to [0, 255], where those are half a level apart or more: a channel
    that is one level to Pillow may hold float noise here, which stretching would make visible."""
    import torch

    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high - low >= 0.5, (images - low) * 255 / (high - low).clamp(min=0.5), images)
