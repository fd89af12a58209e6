"""Parts of the image as views of their own. Sources: Jigsaw, arXiv:1603.09246; Context Prediction, arXiv:1505.05192."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Tiles(Op):
    """layout "cells": in each cell_px square of grid a tile at offset_px; "lattice": tiles every pitch_px; "quadrants"."""

    type: ClassVar[str] = "tiles"
    optional: ClassVar[frozenset[str]] = frozenset(
        {"cell_px", "gap_px", "grid", "jitter_px", "lattices", "offset_px", "origin_px", "pitch_px"})

    layout: str | None = fields.one_of(None, "cells", "lattice", "quadrants")
    tile_px: int | None = fields.whole()
    scope: str | None = fields.scope()
    grid: tuple[int, int] | None = fields.grid()
    cell_px: int | None = fields.whole()
    offset_px: tuple[float, float] | None = fields.span()
    pitch_px: int | None = fields.whole()
    gap_px: int | None = fields.whole(None, 0)
    origin_px: tuple[float, float] | None = fields.span()
    jitter_px: tuple[float, float] | None = fields.span()
    lattices: int | None = fields.whole()
