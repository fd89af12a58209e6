"""Each generator against the law of its paper: counts, profiles, correlations."""

from __future__ import annotations

import numpy as np
import pytest
from viewmill.augment.chance import Chance
from viewmill.augment.masks import Bernoulli, Block, BlockCoin, GridCells, Mask, RandomExact

N = 4000


def drawn(op: Mask, n: int = N, seed: int = 0) -> np.ndarray:
    params, _ = op.draw(Chance(seed, 0, np.arange(n), group="global", stream="masks"), np.full((n, 2), 224))
    return params["mask"]


def test_random_exact_is_uniform_over_subsets() -> None:
    mask = drawn(RandomExact(grid=(14, 14), visible=49)).reshape(N, 196)
    assert (mask.sum(1) == 147).all()
    assert np.abs(mask.mean(0) - 0.75).max() < 4.2 * (0.75 * 0.25 / N) ** 0.5
    correlation = np.corrcoef(mask.T.astype(float))
    assert abs(correlation[~np.eye(196, dtype=bool)].mean() + 1 / 195) < 1e-4


def test_grid_cells_are_whole_and_counted() -> None:
    mask = drawn(GridCells(grid=(48, 48), cells=(6, 6), masked_cells=22), 200)
    cells = mask.reshape(200, 6, 8, 6, 8)
    assert (mask.sum((1, 2)) == 22 * 64).all()
    assert (cells.all((2, 4)) | ~cells.any((2, 4))).all()


def test_bernoulli_counts_are_binomial() -> None:
    counts = drawn(Bernoulli(grid=(32, 32), p=0.15), 1000).sum((1, 2))
    assert abs(counts.mean() - 153.6) < 4 * 11.4 / 1000**0.5 and abs(counts.std() - 11.4) < 1.1


def test_beit_blocks_have_the_published_counts_and_centre_bias() -> None:
    """14 x 14, target 75, least area 16: mean 74.5, exact in about 67 %, centre .72, edge midpoint .19, corner .04."""
    mask = drawn(Block(grid=(14, 14), target=75, min_area=16))
    counts = mask.sum((1, 2))
    assert counts.max() == 75 and counts.min() >= 60 and abs(counts.mean() - 74.5) < 0.15
    assert abs((counts == 75).mean() - 0.675) < 0.04
    profile = mask.mean(0)
    for at, expected in (((7, 7), 0.72), ((0, 7), 0.19), ((7, 0), 0.19), ((0, 0), 0.04)):
        assert abs(profile[at] - expected) < 0.035, (at, profile[at])


def test_no_block_spans_a_side() -> None:
    one = drawn(Block(grid=(6, 6), target=20, min_area=20, attempts=1), 500)
    full = one.all(1).any(1) | one.all(2).any(1)
    assert not full.any()


def test_retry_reaches_the_target_exactly() -> None:
    counts = drawn(Block(grid=(14, 14), target=98, min_area=16, on_fail="retry"), 400).sum((1, 2))
    assert (counts == 98).all()


def test_ibot_coin_leaves_half_of_the_views_unmasked() -> None:
    """Half of the views are unmasked; the others carry 58 of 196 tokens on average."""
    op = BlockCoin(grid=(14, 14), min_area=16, ratio_and_half_width=((0.0, 0.0), (0.3, 0.2)))
    counts = drawn(op).sum((1, 2))
    masked = counts > 0
    assert abs(masked.mean() - 0.5) < 4 * 0.5 / N**0.5
    assert abs(counts[masked].mean() - 58) < 2


def test_a_masks_numbers_do_not_depend_on_the_batch() -> None:
    op = Block(grid=(14, 14), target=75, min_area=16)
    whole = drawn(op, 20)
    alone, _ = op.draw(Chance(0, 0, np.array([13]), group="global", stream="masks"), np.full((1, 2), 224))
    assert np.array_equal(whole[13:14], alone["mask"])


@pytest.mark.parametrize(("make", "says"), [
    (lambda: RandomExact(grid=(2, 2), visible=5), "at most the 4 positions there are, got 5"),
    (lambda: GridCells(grid=(7, 7), cells=(2, 2), masked_cells=1), r"multiple of cells \(2, 2\), got \(7, 7\)"),
    (lambda: GridCells(grid=(8, 8), cells=(2, 2), masked_cells=5), "at most 4 cells, got 5"),
    (lambda: Block(grid=(4, 4), target=17, min_area=1), "16 positions, got 17"),
])
def test_impossible_masks_are_refused_when_made(make: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()  # type: ignore[operator]


def test_a_target_out_of_reach_is_named() -> None:
    with pytest.raises(ValueError, match="did not mask 4 of a grid of"):
        drawn(Block(grid=(2, 2), target=4, min_area=4, on_fail="retry"), 1)
