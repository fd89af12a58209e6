"""Medians, spreads and paired ratios, by hand."""

from __future__ import annotations

import pytest
from viewmill.pipelines.bench.figures import Spread, paired, spread


def test_a_spread_is_the_median_between_the_smallest_and_largest() -> None:
    assert spread([5.0, 1.0, 3.0]) == Spread(3.0, 1.0, 5.0)
    assert spread([4.0, 2.0]) == Spread(3.0, 2.0, 4.0)
    assert str(spread([5.0, 1.0, 3.0])) == "3.00 (1.00 to 5.00)"
    assert spread([2.0, 3.0, 4.0]).width == pytest.approx(2 / 3)


def test_a_ratio_pairs_rounds_before_it_takes_the_median() -> None:
    # The second round was three times as slow for both: their ratio, 2, does not know it.
    assert paired([2.0, 6.0, 5.0], [1.0, 3.0, 2.0]) == Spread(2.0, 2.0, 2.5)


def test_unequal_rounds_and_none_at_all_are_refused() -> None:
    with pytest.raises(ValueError):
        paired([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="at least one value"):
        spread([])
