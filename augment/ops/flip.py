"""Mirror left to right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op
from .batched import coin, where

if TYPE_CHECKING:
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
        if isinstance(images, list):
            return [x.flip(-1) if on else x for x, on in zip(images, params["apply"].tolist(), strict=True)]
        return where(params["apply"], images.flip(-1), images)
