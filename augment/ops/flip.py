"""Mirror left to right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op
from .batched import acting, coin, one_by_one, where

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Flip(Op):
    """p: the chance. Parameters: apply (N,) bool."""

    type: ClassVar[str] = "flip"
    optional: ClassVar[frozenset[str]] = frozenset({"share"})

    p: float | None = fields.probability(0.5)
    scope: str | None = fields.scope()
    share: str | None = fields.text()

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        return {"apply": coin(chance, self.p, self.scope)}, size_hw

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        if isinstance(images, list):
            coins = torch.as_tensor(params["apply"]).tolist()
            return [x.flip(-1) if on else x for x, on in zip(images, coins, strict=True)]
        if one_by_one(images):
            return self.apply_(images.clone(), params)
        return where(params["apply"], images.flip(-1), images)

    def apply_(self, images: Tensor, params: OpParams) -> Tensor:
        """In place, image by image."""
        for row in acting(params["apply"]):
            images[row] = images[row].flip(-1)
        return images
