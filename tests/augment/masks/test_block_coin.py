"""iBOT's mask: a coin for each view, then blocks of a drawn ratio."""

from __future__ import annotations

import numpy as np
import pytest
from viewmill.augment.masks import BlockCoin

from .draws import drawn

N = 4000
IBOT = BlockCoin(grid=(14, 14), min_area=16, ratio_and_half_width=((0.0, 0.0), (0.3, 0.2)))


def test_the_coin_is_a_views_not_an_images() -> None:
    """Two views: a quarter of the images carry no mask at all; 29 tokens a view on average, 58 where there is a mask."""
    views = np.stack([drawn(IBOT, N, ordinal=ordinal, siblings=2) for ordinal in (0, 1)]).sum((2, 3))
    masked = views > 0
    assert np.abs(masked.mean(1) - 0.5).max() < 4 * 0.5 / N**0.5
    assert abs((~masked).all(0).mean() - 0.25) < 4 * (0.25 * 0.75 / N) ** 0.5
    assert abs(views.mean() - 29) < 0.5 + 4 * views.std() / (2 * N) ** 0.5
    assert abs(views[masked].mean() - 58) < 0.5 + 4 * views[masked].std() / N**0.5
    assert views.max() <= 98


def test_the_ratio_is_uniform_between_middle_plus_and_minus_half_width() -> None:
    """With blocks of one position, tried until exact, the count is the target: U(0.1, 0.5) of 200, rounded down."""
    op = BlockCoin(grid=(10, 20), min_area=1, max_area=1, attempts=10, on_fail="retry", target_is_float=False,
                   ratio_and_half_width=((0.3, 0.2),))
    counts = drawn(op, 500).sum((1, 2))
    assert counts.min() >= 20 and counts.max() <= 99
    assert abs(counts.mean() - 59.5) < 4 * 80 / 12**0.5 / 500**0.5 and abs(counts.std() - 80 / 12**0.5) < 2.5


def test_a_fractional_target_is_not_passed() -> None:
    """10.5 of 100 positions: never 11."""
    op = BlockCoin(grid=(10, 10), min_area=1, ratio_and_half_width=((0.105, 0.0),))
    assert drawn(op, 300).sum((1, 2)).max() == 10


def test_one_pair_of_noughts_masks_nothing_and_one_of_more_always() -> None:
    assert not drawn(BlockCoin(grid=(6, 7), min_area=2, ratio_and_half_width=((0.0, 0.0),)), 50).any()
    assert drawn(BlockCoin(grid=(6, 7), min_area=2, ratio_and_half_width=((0.4, 0.1),)), 50).any((1, 2)).all()
    with pytest.raises(ValueError, match=r"pairs \(m, v\) with 0 <= m - v"):
        BlockCoin(grid=(6, 7), min_area=2, ratio_and_half_width=((0.1, 0.2),))
