"""Tiles laid out as one picture."""

from __future__ import annotations

import pytest
import torch
from viewmill.models.mosaic import in_unit, mosaic


def test_tiles_lie_in_raster_order() -> None:
    tiles = torch.arange(2 * 4 * 1 * 2 * 3.0).view(2, 4, 1, 2, 3)
    picture = mosaic(tiles)
    assert picture.shape == (2, 1, 4, 6)
    assert picture[1, 0].tolist() == [[24, 25, 26, 30, 31, 32], [27, 28, 29, 33, 34, 35],
                                      [36, 37, 38, 42, 43, 44], [39, 40, 41, 45, 46, 47]]
    with pytest.raises(ValueError, match="a mosaic needs a square number of tiles, got 3"):
        mosaic(tiles[:, :3])


def test_each_picture_goes_from_its_own_least_value_to_its_largest() -> None:
    images = torch.tensor([[[[-2.0, 0.0], [1.0, 2.0]]], [[[10.0, 20.0], [10.0, 30.0]]]])
    assert in_unit(images)[:, 0].tolist() == [[[0.0, 0.5], [0.75, 1.0]], [[0.0, 0.5], [0.0, 1.0]]]
    assert (in_unit(torch.full((1, 1, 2, 2), 7.0)) == 0).all()
