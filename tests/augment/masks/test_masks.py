"""What all masks have in common: the same numbers whoever asks, other samples other masks, and one shape for methods."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from viewmill.augment.draw import draw
from viewmill.augment.masks import (
    MASKS,
    Attention,
    Bernoulli,
    Block,
    BlockCoin,
    CenterHole,
    GridCells,
    Mask,
    MissingTile,
    MultiBlock,
    NoiseField,
    RandomExact,
    StratifiedBlock,
)
from viewmill.augment.ops import Resize
from viewmill.augment.recipe import Recipe, View

from .draws import chance_of, params_of

DRAWN = [
    Bernoulli(grid=(5, 6)),
    RandomExact(grid=(5, 6), visible=7),
    GridCells(grid=(4, 6), cells=(2, 3), masked_cells=4),
    Block(grid=(14, 14), target=75, min_area=16),
    BlockCoin(grid=(14, 14), min_area=16, ratio_and_half_width=((0.0, 0.0), (0.3, 0.2))),
    StratifiedBlock(grid=(14, 14), min_area=4, max_area="target", attempts=10, on_fail="stop"),
    MultiBlock(grid=(8, 9), min_context=20, drop_after=2),
    Attention(grid=(5, 6), visible=7),
    NoiseField(noise_px=9, canvas_px=60, threshold=0.4, accept=(0.3, 0.5), fill=(1, 2, 3), fill_scale="uint8"),
    NoiseField(noise_px=9, canvas_px=60, threshold=0.4, accept=(0.3, 0.5), fill=(1,), fill_scale="uint8", scope="sample"),
    CenterHole(hole_px=6, blank_px=4, ring_px=1, fill=(1, 2, 3), fill_scale="uint8"),
    MissingTile(missing=2, fill=(1, 2, 3), fill_scale="uint8"),
]
NAMES = [f"{op.generator}-{getattr(op, 'scope', '')}" for op in DRAWN]
SIZE, BLOCK = (9, 12), 16


def test_every_generator_is_here() -> None:
    assert {op.generator for op in DRAWN} == set(MASKS) - {None}


@pytest.mark.parametrize("op", DRAWN, ids=NAMES)
def test_a_mask_does_not_depend_on_who_else_is_asked_for(op: Mask) -> None:
    whole = params_of(op, 40, SIZE, siblings=4, ordinal=2, block=BLOCK)
    chance = chance_of(40, siblings=4, ordinal=2, block=BLOCK)
    for rows in ([13], [39, 2, 17, 2], []):
        some, _ = op.draw(chance.rows(np.array(rows, int)), np.full((len(rows), 2), SIZE))
        for name, values in some.items():
            assert len(values) == len(rows) and values.dtype == whole[name].dtype
            assert not rows or np.array_equal(values, whole[name][rows]), name


@pytest.mark.parametrize("op", [op for op in DRAWN if op.generator != "center-hole"],
                         ids=[n for n in NAMES if "center" not in n])
def test_masks_differ_by_seed_epoch_and_sample_or_block(op: Mask) -> None:
    first = params_of(op, 40, SIZE, siblings=4, block=BLOCK)
    for changed in ({"seed": 1}, {"epoch": 1}, {"index": np.arange(40) + 1000, "position": np.arange(40) + 16 * 1000}):
        chance = chance_of(40, **{"siblings": 4, "block": BLOCK, **{k: v for k, v in changed.items() if k != "epoch"}})
        if "epoch" in changed:
            object.__setattr__(chance, "epoch", 1)
        again, _ = op.draw(chance, np.full((40, 2), SIZE))
        assert any(not np.array_equal(again[name], first[name]) for name in first), changed


@pytest.mark.parametrize("op", DRAWN, ids=NAMES)
def test_only_masks_that_fill_change_pixels(op: Mask) -> None:
    """Levels above 5, fills below; of 40 images at least one misses its tile."""
    params = params_of(op, 40, SIZE, siblings=4)
    images = torch.arange(40 * 3 * 9 * 12, dtype=torch.float32).reshape(40, 3, *SIZE) % 250 + 5
    out = op.apply(images.clone(), params)
    assert isinstance(out, torch.Tensor) and torch.equal(out, images) != op.fills
    assert all(isinstance(op.caption(params, row), str) for row in range(40))


def test_masks_of_a_batch_scope_ask_for_positions() -> None:
    for op in (DRAWN[5], DRAWN[6], DRAWN[8]):
        with pytest.raises(ValueError, match=r"global/masks.* is shared by blocks of 256 positions: draw needs position"):
            op.draw(chance_of(2, position=None), np.full((2, 2), SIZE))


def test_a_mask_of_pixels_needs_views_of_one_size() -> None:
    for op in (DRAWN[8], DRAWN[10]):
        with pytest.raises(ValueError, match="needs views of one size, got 2"):
            op.draw(chance_of(2), np.array([[9, 12], [9, 13]]))


def test_a_recipe_with_masks_is_drawn_view_by_view() -> None:
    """Through `draw`: two views whose stratified masks share their counts, and nothing left for the caller to pass."""
    op = StratifiedBlock(grid=(4, 4), min_area=1, max_area="target", attempts=10, on_fail="retry", ratio=(0.25, 1.0))
    recipe = Recipe((View("global", 32, (Resize(mode="exact", side_px=32), op), count=2),), block=8)
    params = draw(recipe, 0, 0, np.arange(24), np.full((24, 2), 40), position=np.arange(24))
    masked = np.stack([params[f"global/{v}"]["masks"]["mask"].any((1, 2)) for v in (0, 1)])
    assert masked.reshape(2, 3, 8).sum((0, 2)).tolist() == [8, 8, 8]
