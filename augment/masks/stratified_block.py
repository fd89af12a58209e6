"""Blocks for a fixed part of a batch, ratios stratified. Source: DINOv2, arXiv:2304.07193."""

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
class StratifiedBlock(Blocks):
    """Exactly masked_fraction of the crops of each block of positions are masked, one in each of as many equal strata of
    `ratio`; within its stratum a crop's ratio is uniform, its target int(ratio * positions of grid), its blocks by `Blocks`.

    scope: "batch" counts the crops of all views of the group, "batch-view" those of each view by itself. The shorter last
    block of an epoch is drawn as a part of a full one: there the fraction holds on average.
    """

    generator: ClassVar[str] = "stratified-block"
    by_siblings: ClassVar[bool] = True

    masked_fraction: float | None = fields.fraction(0.5)
    ratio: tuple[float, float] | None = fields.span((0.1, 0.5), 0, 1)
    max_area: int | str | None = fields.target()
    attempts: int | None = fields.whole()
    on_fail: str | None = fields.one_of(None, "stop", "retry")
    scope: str | None = fields.scope("batch")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope not in (None, "batch", "batch-view"):
            raise ValueError(f"masks.scope needs 'batch' or 'batch-view' (the crops that share the fraction), got {self.scope!r}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.grid is not None and self.masked_fraction is not None and self.ratio is not None
        views, view = (chance.siblings, chance.ordinal) if self.scope == "batch" else (1, 0)
        crops = chance.block * views
        first, which = chance.alike(str(self.scope))
        # One random order of the block's crops, whichever of them are asked for; the first `masked` are, by their place.
        keys = chance.rows(first).uniforms(crops, scope=str(self.scope), part=f"{chance.group}/order")
        place = laws.ranks(keys)[which, chance.offsets() * views + view]
        masked = round(self.masked_fraction * crops)
        u = chance.uniforms(1, part="ratio")[:, 0]
        low, high = self.ratio
        ratio = low + (place + u) / max(masked, 1) * (high - low)
        targets = np.where(place < masked, np.floor(ratio * (self.grid[0] * self.grid[1])), 0.0)
        return {"mask": self.blocks(chance, targets, "sample")}, size_hw
