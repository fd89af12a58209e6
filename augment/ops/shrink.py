"""To a small square and back. Source: Context Prediction, arXiv:1505.05192."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Shrink(Op):
    """With chance p to a square of area_px, uniform, and back to restore_px."""

    type: ClassVar[str] = "shrink"

    p: float | None = fields.probability(None)
    area_px: tuple[float, float] | None = fields.span(None, 1)
    restore_px: int | None = fields.whole()
    filter: str | None = fields.one_of(None, "bilinear", "bicubic", "lanczos")
    scope: str | None = fields.scope()
