"""Hold values within bounds. Levels never leave 0..255 here, so this records that a source clips."""

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


@dataclass(frozen=True, kw_only=True)
class Clip(Op):
    """lo, hi: on the unit scale, 0..1 of the levels 0..255. No parameters."""

    type: ClassVar[str] = "clip"

    lo: float | None = fields.number(0.0)
    hi: float | None = fields.number(1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lo is not None and self.hi is not None and self.lo > self.hi:
            raise ValueError(f"clip.lo needs at most hi = {self.hi}, got {self.lo}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        return {}, size_hw

    def apply(self, images: Images, params: OpParams) -> Images:
        assert self.lo is not None and self.hi is not None and not isinstance(images, list)
        return images.clamp(255 * self.lo, 255 * self.hi)

    def apply_(self, images: Tensor, params: OpParams) -> Tensor:
        """In place."""
        assert self.lo is not None and self.hi is not None
        return images.clamp_(255 * self.lo, 255 * self.hi)
