"""Blocks after a coin a view: some views carry no mask. Source: iBOT, arXiv:2111.07832."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from .block import Block, blocks

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import OpParams


@dataclass(frozen=True, kw_only=True)
class BlockCoin(Block):
    """One pair (m, v) of ratio_and_half_width with equal chance, then a ratio uniform in [m - v, m + v]: the target is
    ratio times the positions, kept as a fraction where target_is_float."""

    generator: ClassVar[str] = "block-coin"
    optional: ClassVar[frozenset[str]] = frozenset({"target", "ratio"})

    ratio_and_half_width: tuple[tuple[float, float], ...] | None = fields.pairs()
    target_is_float: bool | None = fields.flag(True)

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.grid is not None and self.ratio_and_half_width is not None
        u = chance.uniforms(2, scope=str(self.scope), part="ratio")
        middle, half = np.array(self.ratio_and_half_width)[laws.integer(u[:, 0], 0, len(self.ratio_and_half_width))].T
        targets = (middle + half * (2 * u[:, 1] - 1)) * (self.grid[0] * self.grid[1])
        return {"mask": blocks(self, chance, targets if self.target_is_float else np.floor(targets))}, size_hw
