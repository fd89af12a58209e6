"""MAE's mask: a fixed count, uniform over subsets."""

from __future__ import annotations

import numpy as np
import pytest
from viewmill.augment.masks import RandomExact

from .draws import drawn

N = 4000


def test_it_is_uniform_over_subsets() -> None:
    """Each position with chance 147 / 196; any two correlate by -1 / 195, as in draws without replacement."""
    mask = drawn(RandomExact(grid=(14, 14), visible=49), N).reshape(N, 196)
    assert (mask.sum(1) == 147).all()
    assert np.abs(mask.mean(0) - 0.75).max() < 4.6 * (0.75 * 0.25 / N) ** 0.5
    correlation = np.corrcoef(mask.T.astype(float))[~np.eye(196, dtype=bool)]
    assert abs(correlation.mean() + 1 / 195) < 1e-4
    assert abs(correlation.std() - N**-0.5) < 0.2 * N**-0.5


def test_every_subset_of_a_small_grid_is_as_likely() -> None:
    """2 x 2, two visible: 6 subsets."""
    mask = drawn(RandomExact(grid=(2, 2), visible=2), 6000).reshape(-1, 4) @ [8, 4, 2, 1]
    counts = np.bincount(mask, minlength=16)
    assert sorted(np.flatnonzero(counts)) == [0b0011, 0b0101, 0b0110, 0b1001, 0b1010, 0b1100]
    assert np.abs(counts[counts > 0] - 1000).max() < 4.5 * (6000 * 1 / 6 * 5 / 6) ** 0.5


def test_all_may_be_visible() -> None:
    assert not drawn(RandomExact(grid=(3, 5), visible=15), 20).any()
    with pytest.raises(ValueError, match="at most the 4 positions there are, got 5"):
        RandomExact(grid=(2, 2), visible=5)
