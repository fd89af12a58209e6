"""Tiles laid out as one picture."""

from __future__ import annotations

import pytest
import torch
from viewmill.models.mosaic import mosaic


def test_tiles_lie_in_raster_order() -> None:
    tiles = torch.arange(2 * 4 * 1 * 2 * 3.0).view(2, 4, 1, 2, 3)
    picture = mosaic(tiles)
    assert picture.shape == (2, 1, 4, 6)
    assert picture[1, 0].tolist() == [[24, 25, 26, 30, 31, 32], [27, 28, 29, 33, 34, 35],
                                      [36, 37, 38, 42, 43, 44], [39, 40, 41, 45, 46, 47]]
    with pytest.raises(ValueError, match="a mosaic needs a square number of tiles, got 3"):
        mosaic(tiles[:, :3])
