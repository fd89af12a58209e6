"""Each position by itself. Source: iGPT's BERT objective (Chen et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from .mask import Mask

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import OpParams


@dataclass(frozen=True, kw_only=True)
class Bernoulli(Mask):
    """Each of grid's positions is masked with chance p; none at all may be."""

    generator: ClassVar[str] = "bernoulli"

    grid: tuple[int, int] | None = fields.grid()
    p: float | None = fields.probability(0.15)
    scope: str | None = fields.scope()

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.grid is not None and self.p is not None
        u = chance.uniforms(self.grid[0] * self.grid[1], scope=str(self.scope))
        return {"mask": (u < self.p).reshape(-1, *self.grid)}, size_hw
