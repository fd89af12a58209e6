"""Blocks after a coin a view: some views carry no mask. Source: iBOT, arXiv:2111.07832."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from .block import Blocks

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import OpParams


@dataclass(frozen=True, kw_only=True)
class BlockCoin(Blocks):
    """One pair (m, v) of ratio_and_half_width with equal chance, then a ratio uniform in [m - v, m + v]: the target is
    ratio times the positions, kept as a fraction where target_is_float; blocks by `Blocks`."""

    generator: ClassVar[str] = "block-coin"

    ratio_and_half_width: tuple[tuple[float, float], ...] | None = fields.pairs()
    target_is_float: bool | None = fields.flag(True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(not 0 <= m - v <= m + v <= 1 for m, v in self.ratio_and_half_width or ()):
            raise ValueError("masks.ratio_and_half_width needs pairs (m, v) with 0 <= m - v <= m + v <= 1, "
                             f"got {self.ratio_and_half_width}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.grid is not None and self.ratio_and_half_width is not None
        u = chance.uniforms(2, scope=str(self.scope), part="ratio")
        middle, half = np.array(self.ratio_and_half_width)[laws.integer(u[:, 0], 0, len(self.ratio_and_half_width))].T
        targets = (middle + half * (2 * u[:, 1] - 1)) * (self.grid[0] * self.grid[1])
        return {"mask": self.blocks(chance, targets if self.target_is_float else np.floor(targets), str(self.scope))}, size_hw
