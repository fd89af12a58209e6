"""A fixed number of visible patches, uniform over subsets. Source: MAE, arXiv:2111.06377."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from .mask import Mask

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import OpParams


@dataclass(frozen=True, kw_only=True)
class RandomExact(Mask):
    """Exactly `visible` positions of grid (rows, columns) stay; ratio: the nominal fraction that is hidden."""

    generator: ClassVar[str] = "random-exact"
    optional: ClassVar[frozenset[str]] = frozenset({"ratio"})

    grid: tuple[int, int] | None = fields.grid()
    visible: int | None = fields.whole()
    ratio: float | None = fields.fraction()
    scope: str | None = fields.scope()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid is not None and self.visible is not None and self.visible > self.grid[0] * self.grid[1]:
            positions = self.grid[0] * self.grid[1]
            raise ValueError(f"masks.visible needs at most the {positions} positions there are, got {self.visible}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.grid is not None and self.visible is not None
        u = chance.uniforms(self.grid[0] * self.grid[1], scope=str(self.scope))
        return {"mask": (~laws.lowest(u, self.visible)).reshape(-1, *self.grid)}, size_hw
