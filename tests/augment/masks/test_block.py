"""BEiT's and CAE's blocks: counts and profile as simulated for the published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from viewmill.augment.masks import Block

from .draws import drawn

N = 4000


@pytest.mark.parametrize(("grid", "target", "least", "mean", "exact"), [
    (14, 75, 16, 74.5, 0.675), (14, 78, 15, 77.6, 0.71), (14, 120, 16, 119.5, 0.69), (16, 105, 16, 104.4, 0.64)])
def test_blocks_stop_short_as_often_as_published(grid: int, target: int, least: int, mean: float, exact: float) -> None:
    """BEiT, MaskFeat, data2vec, EVA. The published figures come from 4000 draws and are rounded."""
    counts = drawn(Block(grid=(grid, grid), target=target, min_area=least), 2000).sum((1, 2))
    assert counts.max() == target and abs(counts.mean() - mean) < 0.05 + 4 * counts.std() * (1 / 2000 + 1 / N) ** 0.5
    assert abs((counts == target).mean() - exact) < 0.005 + 4 * (exact * (1 - exact) * (1 / 2000 + 1 / N)) ** 0.5


def test_beit_counts_spread_by_one() -> None:
    counts = drawn(Block(grid=(14, 14), target=75, min_area=16), N).sum((1, 2))
    assert abs(counts.std() - 1.0) < 0.1 and np.percentile(counts, 1) == pytest.approx(70, abs=1) and counts.min() >= 60


@pytest.mark.parametrize(("target", "centre", "edge", "corner"), [(75, 0.72, 0.19, 0.04), (98, 0.86, 0.27, 0.06),
                                                                  (120, 0.94, 0.38, 0.09)])
def test_the_centre_is_masked_most(target: int, centre: float, edge: float, corner: float) -> None:
    profile = drawn(Block(grid=(14, 14), target=target, min_area=16), 2000).mean(0)
    for places, expected in (([(6, 6), (6, 7), (7, 6), (7, 7)], centre), ([(0, 7), (7, 0), (13, 6), (6, 13)], edge),
                             ([(0, 0), (0, 13), (13, 0), (13, 13)], corner)):
        for at in places:
            error = (expected * (1 - expected) * (1 / 2000 + 1 / N)) ** 0.5
            assert abs(profile[at] - expected) < 0.005 + 4.2 * error, (at, profile[at])


def test_no_block_spans_a_side() -> None:
    one = drawn(Block(grid=(6, 6), target=20, min_area=20, attempts=1), 500)
    assert one.any((1, 2)).any() and not (one.all(1).any(1) | one.all(2).any(1)).any()


def test_a_first_block_has_the_drawn_area_and_aspect() -> None:
    """One block of 30 positions of a wide grid, height / width log-uniform in [1/2, 2]: sides 4 to 8, none likelier tall."""
    one = drawn(Block(grid=(20, 20), target=30, min_area=30, max_area=30, aspect=(0.5, 2.0), attempts=1), 2000)
    one = one[one.any((1, 2))]
    h, w = one.any(2).sum(1), one.any(1).sum(1)
    sides = {(round((30 * r) ** 0.5), round((30 / r) ** 0.5)) for r in np.geomspace(0.5, 2, 10001)}
    small = {(a, b) for a, b in sides if a * b <= 30}
    first = (one.sum((1, 2)) == h * w)
    assert {(int(a), int(b)) for a, b in zip(h[first], w[first], strict=True)} == small
    assert abs((h[first] > w[first]).sum() - (h[first] < w[first]).sum()) < 4 * first.sum() ** 0.5


def test_a_cap_bounds_a_blocks_area() -> None:
    """Squares of 2 x 2 at most rarely make a full 5 x 5; up to 40 positions at once, they often do."""
    def large(op: Block) -> float:
        squares = np.lib.stride_tricks.sliding_window_view(drawn(op, 500), (5, 5), (1, 2)).all((3, 4))
        return float(squares.any((1, 2)).mean())

    op = Block(grid=(9, 7), target=40, min_area=4, max_area=4, aspect=(1.0, 1.0))
    assert large(op) < 0.05 and large(op.with_fields(max_area="target")) > 0.3


def test_retry_reaches_the_target_exactly() -> None:
    """CAE: always 98; without trying again mean 97.5."""
    op = Block(grid=(14, 14), target=98, min_area=16, on_fail="retry")
    assert (drawn(op, 1000).sum((1, 2)) == 98).all()
    assert drawn(op.with_fields(on_fail="stop"), 2000).sum((1, 2)).mean() == pytest.approx(97.5, abs=0.15)


def test_many_small_blocks_take_all_the_draws_they_need() -> None:
    """Single positions, each a block: 1100 of 1296 take 1296 ln(1296 / 196) = 2448 draws on average."""
    op = Block(grid=(36, 36), target=1100, min_area=1, max_area=1, attempts=60)
    assert (drawn(op, 2).sum((1, 2)) == 1100).all()


def test_impossible_targets_are_refused_and_unreachable_ones_named() -> None:
    with pytest.raises(ValueError, match="16 positions, got 17"):
        Block(grid=(4, 4), target=17, min_area=1)
    with pytest.raises(ValueError, match=r"did not mask 4 of a grid of \(2, 2\)"):
        drawn(Block(grid=(2, 2), target=4, min_area=4, on_fail="retry"), 1)
