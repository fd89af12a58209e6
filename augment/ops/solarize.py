"""Invert the levels at or above a threshold. Source: BYOL, arXiv:2006.07733, appendix B; Pillow's ImageOps.solarize."""

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
class Solarize(Op):
    """p: the chance; v becomes max - v where v >= threshold, on the scale "uint8" (0..255) or "unit" (0..1).

    Parameters: apply (N,) bool. An op of p = 0 needs no threshold.
    """

    type: ClassVar[str] = "solarize"
    optional: ClassVar[frozenset[str]] = frozenset({"threshold", "share"})

    p: float | None = fields.probability(0.2)
    threshold: float | None = fields.strength(128)
    scale: str | None = fields.one_of("uint8", "uint8", "unit")
    scope: str | None = fields.scope()
    share: str | None = fields.text()

    def unstated(self) -> tuple[str, ...]:
        return (*super().unstated(), *(("threshold",) if self.threshold is None and self.p else ()))

    @property
    def level(self) -> float:
        """The threshold in levels 0..255; above them all where the op never acts."""
        if self.threshold is None:
            return 256.0
        return self.threshold * (255.0 if self.scale == "unit" else 1.0)

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        return {"apply": coin(chance, self.p, self.scope)}, size_hw

    def apply(self, images: Images, params: OpParams) -> Images:
        assert not isinstance(images, list)
        if one_by_one(images):
            return self.apply_(images.clone(), params)
        return where(params["apply"], images.where(images < self.level, 255 - images), images)

    def apply_(self, images: Tensor, params: OpParams) -> Tensor:
        """In place, image by image."""
        for row in acting(params["apply"]):
            images[row] = images[row].where(images[row] < self.level, 255 - images[row])
        return images
