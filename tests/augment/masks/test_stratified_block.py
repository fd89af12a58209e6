"""DINOv2's masks: exactly half of a block's crops, one in each stratum of the ratio."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from viewmill.augment.masks import StratifiedBlock

from .draws import drawn


def op(**fields: Any) -> StratifiedBlock:
    stated = {"grid": (14, 14), "min_area": 4, "max_area": "target", "attempts": 10, "on_fail": "retry"}
    return StratifiedBlock(**{**stated, **fields})


def counts(mask: StratifiedBlock, n: int, views: int = 2, **fields: Any) -> np.ndarray:
    """(views, n): positions masked in each crop."""
    return np.stack([drawn(mask, n, siblings=views, ordinal=v, **fields).sum((1, 2)) for v in range(views)])


def test_exactly_half_of_the_crops_of_each_block_are_masked() -> None:
    masked = counts(op(), 3 * 64, block=64) > 0
    assert masked.reshape(2, 3, 64).sum((0, 2)).tolist() == [64, 64, 64]
    assert masked.all(0).any() and (~masked).all(0).any()  # crops, not images or views, are counted
    assert masked.sum(1).tolist() != [96, 96]


def test_each_stratum_of_the_ratio_has_one_crop() -> None:
    """64 crops over [0.1, 0.5]: the i-th smallest ratio lies in [0.1 + 0.4 i / 64, 0.1 + 0.4 (i + 1) / 64], its target is
    int(196 ratio), which trying again always reaches."""
    found = counts(op(), 64, block=64).ravel()
    ordered = np.sort(found[found > 0])
    low = np.floor(196 * (0.1 + 0.4 * np.arange(64) / 64))
    high = np.floor(196 * (0.1 + 0.4 * np.arange(1, 65) / 64))
    assert ((ordered >= low) & (ordered <= high)).all()
    assert len(set((ordered - low).tolist())) > 1


def test_which_crops_and_which_strata_are_left_to_chance() -> None:
    """4 crops, one masked: each of them in a quarter of the blocks. 2 masked: the smaller comes first half of the time."""
    one = counts(op(masked_fraction=0.25, ratio=(0.5, 0.5)), 4000, block=2).reshape(2, 2000, 2) > 0
    assert (one.sum((0, 2)) == 1).all()
    assert np.abs(one.mean(1) - 0.25).max() < 4 * (0.25 * 0.75 / 2000) ** 0.5
    both = counts(op(masked_fraction=1.0), 4000, views=1, block=2).reshape(2000, 2)
    assert (both.min(1) <= 58).all() and (both.max(1) >= 58).all()
    assert abs((both[:, 0] < both[:, 1]).mean() - 0.5) < 4 * 0.5 / 2000**0.5 + 0.01


def test_a_ratio_is_uniform_within_its_stratum() -> None:
    """One crop a block, all masked: U(0.1, 0.5) of 400 positions of a wide grid, as single cells."""
    found = counts(op(grid=(10, 20), min_area=1, max_area=1, masked_fraction=1.0), 1000, views=1, block=1)[0]
    assert found.min() >= 20 and found.max() <= 99
    assert abs(found.mean() - 59.5) < 4 * 80 / 12**0.5 / 1000**0.5 and abs(found.std() - 80 / 12**0.5) < 1.6


def test_blocks_lie_elsewhere_in_each_crop() -> None:
    """All crops of one block, one ratio: 64 masks, each its own."""
    same = op(masked_fraction=1.0, ratio=(0.3, 0.3))
    masks = np.concatenate([drawn(same, 32, block=32, siblings=2, ordinal=v) for v in (0, 1)])
    assert (masks.sum((1, 2)) == 58).all() and len({m.tobytes() for m in masks}) == 64


def test_views_may_be_counted_each_by_itself() -> None:
    masked = counts(op(scope="batch-view"), 3 * 32, block=32) > 0
    assert masked.reshape(2, 3, 32).sum(2).tolist() == [[16] * 3] * 2
    assert not np.array_equal(masked[0], masked[1])


def test_the_rest_of_an_epoch_is_a_part_of_a_full_block() -> None:
    """The first 5 of 64 positions: the same masks as with the others present."""
    assert np.array_equal(counts(op(), 5, block=64), counts(op(), 64, block=64)[:, :5])


def test_none_and_all_may_be_masked() -> None:
    assert (counts(op(masked_fraction=0.0), 20, block=8) == 0).all()
    assert (counts(op(masked_fraction=1.0), 20, block=8) > 0).all()


def test_stop_leaves_a_few_masks_short() -> None:
    short = counts(op(on_fail="stop"), 500, block=64)
    full = counts(op(), 500, block=64)
    assert (short <= full).all() and 0 < (short < full).mean() < 0.3
    assert ((short > 0) == (full > 0)).all()


def test_scopes_that_share_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"needs 'batch' or 'batch-view' .*, got 'sample'"):
        op(scope="sample")
    assert StratifiedBlock(grid=(14, 14), min_area=4).unstated() == ("max_area", "attempts", "on_fail")
