"""Tiles laid out as one picture, for people to look at."""

from __future__ import annotations

import math

from torch import Tensor


def mosaic(tiles: Tensor) -> Tensor:
    """tiles (B, n * n, C, h, w) to pictures (B, C, n h, n w): in raster order, without gaps. Raises ValueError where their number
    is no square."""
    count, side = tiles.shape[1], math.isqrt(tiles.shape[1])
    if side * side != count:
        raise ValueError(f"a mosaic needs a square number of tiles, got {count}")
    rows = tiles.unflatten(1, (side, side))  # (B, row, column, C, h, w)
    return rows.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
