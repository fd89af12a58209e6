"""A square of one colour. Source: Cutout, arXiv:1708.04552."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Cutout(Op):
    """With chance p a box of size_px around a uniform pixel, cut at the border, becomes fill (levels)."""

    type: ClassVar[str] = "cutout"

    p: float | None = fields.probability(1.0)
    size_px: int | tuple[int, int] | None = fields.size()
    fill: tuple[float, ...] | None = fields.vector((0.0, 0.0, 0.0), 3)
    scope: str | None = fields.scope()
