"""Each colour plane moved by itself. Source: Jigsaw, arXiv:1603.09246."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class ColourShift(Op):
    """offset_px: uniform whole pixels, for each plane and axis."""

    type: ClassVar[str] = "colour_shift"

    offset_px: tuple[float, float] | None = fields.span()
    per: str | None = fields.one_of("plane-and-axis", "plane-and-axis")
    scope: str | None = fields.scope()
