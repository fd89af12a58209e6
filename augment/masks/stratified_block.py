"""Blocks for a fixed part of a batch, ratios stratified. Source: DINOv2, arXiv:2304.07193."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from .mask import Mask


@dataclass(frozen=True, kw_only=True)
class StratifiedBlock(Mask):
    """Exactly masked_fraction of a batch's crops are masked, their ratios spread evenly over `ratio`; blocks as in `Block`."""

    generator: ClassVar[str] = "stratified-block"

    grid: tuple[int, int] | None = fields.grid()
    masked_fraction: float | None = fields.probability(0.5)
    ratio: tuple[float, float] | None = fields.span((0.1, 0.5), 0, 1)
    min_area: int | None = fields.whole()
    max_area: int | str | None = fields.target()
    aspect: tuple[float, float] | None = fields.ratio((0.3, 1 / 0.3))
    attempts: int | None = fields.whole()
    on_fail: str | None = fields.one_of(None, "stop", "retry")
    scope: str | None = fields.scope("batch")
