"""Target blocks and a context without them. Source: I-JEPA, arXiv:2301.08243."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from .mask import Mask


@dataclass(frozen=True, kw_only=True)
class MultiBlock(Mask):
    """Several target blocks of one size, and one context block minus them, cut to the batch's shortest list by the method."""

    generator: ClassVar[str] = "multi-block"

    grid: tuple[int, int] | None = fields.grid()
    targets: int | None = fields.whole(4)
    target_scale: tuple[float, float] | None = fields.area((0.15, 0.2))
    target_aspect: tuple[float, float] | None = fields.ratio((0.75, 1.5))
    context_scale: tuple[float, float] | None = fields.area((0.85, 1.0))
    context_aspect: tuple[float, float] | None = fields.ratio((1.0, 1.0))
    tied_size_aspect: bool | None = fields.flag(True)
    size_scope: str | None = fields.scope("batch")
    last_row_and_column: bool | None = fields.flag(False)
    min_context: int | None = fields.whole(11)
    drop_after: int | None = fields.whole(20)
    truncate: str | None = fields.one_of("batch-minimum", "batch-minimum")
    scope: str | None = fields.scope()
