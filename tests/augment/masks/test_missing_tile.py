"""Damaged jigsaws: exactly one of an image's nine tiles is gone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import viewmill as vm
from viewmill.augment import Recipe, View
from viewmill.augment.masks import MissingTile
from viewmill.augment.ops import Crop

from .draws import params_of

FILL: dict[str, Any] = {"fill": (0.5,), "fill_scale": "unit"}
N = 2700


def missing(op: MissingTile, tiles: int = 9, n: int = N, **fields: Any) -> np.ndarray:
    """(tiles, n) bool."""
    return np.stack([params_of(op, n, (9, 12), siblings=tiles, ordinal=t, copy=t, **fields)["missing"] for t in range(tiles)])


def test_exactly_one_tile_of_each_image_is_missing_and_each_as_often() -> None:
    found = missing(MissingTile(missing=1, **FILL))
    assert (found.sum(0) == 1).all()
    assert np.abs(found.sum(1) - 300).max() < 4 * (N * 1 / 9 * 8 / 9) ** 0.5


def test_more_may_be_missing_up_to_all() -> None:
    assert (missing(MissingTile(missing=4, **FILL), n=50).sum(0) == 4).all()
    assert missing(MissingTile(missing=9, **FILL), n=50).all()
    with pytest.raises(ValueError, match="at most the 9 views of group 'global', got 10"):
        missing(MissingTile(missing=10, **FILL))


def test_a_block_of_positions_may_miss_the_same_tile() -> None:
    found = missing(MissingTile(missing=1, scope="batch", **FILL), n=12, block=4)
    assert (found.reshape(9, 3, 4) == found.reshape(9, 3, 4)[:, :, :1]).all() and (found.sum(0) == 1).all()
    with pytest.raises(ValueError, match="'image' or 'batch' .*, got 'sample'"):  # noqa: RUF043
        MissingTile(missing=1, scope="sample", **FILL)


def test_a_missing_tile_is_filled_and_the_others_are_left() -> None:
    op = MissingTile(missing=1, **FILL)
    images = torch.arange(24.0).reshape(2, 3, 1, 4)
    for params in ({"missing": np.array([False, True])}, {"missing": torch.tensor([False, True])}):
        out = op.apply(images, params)  # type: ignore[arg-type]
        assert torch.equal(out[0], images[0]) and out[1].tolist() == [[[127.5] * 4]] * 3  # type: ignore[union-attr]
    light = op.apply(torch.zeros(1, 1, 1, 2), {"missing": np.array([True])})
    assert light[0, 0].tolist() == [[50, 50]]  # type: ignore[index, union-attr]
    assert [op.caption({"missing": np.array([False, True])}, row) for row in (0, 1)] == ["", "missing"]


@pytest.mark.parametrize("engine", ["torch", "cpu"])
def test_views_that_are_alike_but_for_what_is_missing_are_not_rendered_once(engine: str) -> None:
    """Three copies of one crop: each image lacks one of them, not always the same."""
    op = MissingTile(missing=1, fill=(0.0,), fill_scale="uint8")
    recipe = Recipe((View("a", 8, (Crop(size_px=8, scope="image"), op), count=3),))
    params = vm.draw(recipe, 0, 0, np.arange(6), np.tile((9, 12), (6, 1)))
    views = vm.render(np.full((6, 9, 12, 3), 200, np.uint8), recipe, params, engine=engine)["a"]
    black = (views == 0).all(2).all(2).all(2).numpy()
    assert black.tolist() == [params[f"a/{copy}"]["masks"]["missing"].tolist() for copy in range(3)]
    assert (black.sum(0) == 1).all() and black.any(1).all()
