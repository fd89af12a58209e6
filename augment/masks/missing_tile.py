"""A tile left out. Source: Completing Damaged Jigsaw Puzzles, arXiv:1802.01880."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from .mask import Mask


@dataclass(frozen=True, kw_only=True)
class MissingTile(Mask):
    """`missing` tiles are replaced by the fill."""

    generator: ClassVar[str] = "missing-tile"

    missing: int | None = fields.whole()
    fill: tuple[float, ...] | None = fields.vector()
    fill_scale: str | None = fields.one_of(None, "uint8", "unit")
    scope: str | None = fields.scope()
