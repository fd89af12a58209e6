"""All three channels become one weighted sum, with a chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op
from .batched import LUMA, acting, coin, luma, one_by_one, weighted_sum, where

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Grayscale(Op):
    """p: the chance; weights: of red, green and blue. Parameters: apply (N,) bool."""

    type: ClassVar[str] = "grayscale"
    optional: ClassVar[frozenset[str]] = frozenset({"share"})

    p: float | None = fields.probability(0.2)
    weights: tuple[float, float, float] | None = fields.weights(LUMA)
    scope: str | None = fields.scope()
    share: str | None = fields.text()

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        return {"apply": coin(chance, self.p, self.scope)}, size_hw

    def apply(self, images: Images, params: OpParams) -> Images:
        assert self.weights is not None and not isinstance(images, list)
        if one_by_one(images):
            return self.apply_(images.clone(), params)
        return where(params["apply"], luma(images, self.weights).expand_as(images), images)

    def apply_(self, images: Tensor, params: OpParams) -> Tensor:
        """In place, image by image."""
        assert self.weights is not None
        for row in acting(params["apply"]):
            images[row:row + 1] = weighted_sum(images[row:row + 1], self.weights)
        return images
