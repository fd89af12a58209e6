"""A hole in the middle. Source: Context Encoders, arXiv:1604.07379."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from .mask import Mask


@dataclass(frozen=True, kw_only=True)
class CenterHole(Mask):
    """hole_px is predicted; its inner blank_px is filled, so that a ring of ring_px is shown and predicted."""

    generator: ClassVar[str] = "center-hole"

    hole_px: int | None = fields.whole()
    blank_px: int | None = fields.whole()
    ring_px: int | None = fields.whole(0, 0)
    fill: tuple[float, ...] | None = fields.vector()
    fill_scale: str | None = fields.one_of(None, "uint8", "unit")
