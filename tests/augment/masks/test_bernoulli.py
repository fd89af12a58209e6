"""iGPT's mask: each position by itself."""

from __future__ import annotations

import numpy as np
from viewmill.augment.masks import Bernoulli

from .draws import drawn


def test_counts_are_binomial() -> None:
    """1024 positions, p = 0.15: mean 153.6, standard deviation 11.4."""
    counts = drawn(Bernoulli(grid=(32, 32), p=0.15), 1000).sum((1, 2))
    assert abs(counts.mean() - 153.6) < 4 * 11.4 / 1000**0.5 and abs(counts.std() - 11.4) < 4 * 11.4 / 2000**0.5


def test_positions_do_not_know_of_each_other() -> None:
    mask = drawn(Bernoulli(grid=(3, 4), p=0.3), 4000).reshape(-1, 12).astype(float)
    correlation = np.corrcoef(mask.T)[~np.eye(12, dtype=bool)]
    assert np.abs(correlation).max() < 4.2 * 4000**-0.5


def test_p_of_nought_masks_nothing_and_p_of_one_all() -> None:
    assert not drawn(Bernoulli(grid=(8, 9), p=0.0), 50).any()
    assert drawn(Bernoulli(grid=(8, 9), p=1.0), 50).all()
