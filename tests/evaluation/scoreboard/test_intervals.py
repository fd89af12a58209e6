"""Intervals of paired differences: by enumeration where that can be done, by the normal law where pictures are many."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from viewmill.evaluation.scoreboard.intervals import alone, better_of, paired


def table(seeds: int, pictures: int, share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((seeds, pictures)) < share


def test_every_resample_of_a_tiny_table() -> None:
    # 2 seeds x 3 pictures: all 2^2 * 3^3 = 108 resamples, equally likely, written out.
    correct = np.array([[1, 0, 1], [1, 1, 1]], bool)
    baseline = np.array([[0, 0, 1], [1, 0, 0]], bool)
    d = correct.astype(float) - baseline
    means = [np.mean([d[s, p] for s in ss for p in ps]) for ss in itertools.product(range(2), repeat=2)
             for ps in itertools.product(range(3), repeat=3)]
    found = paired(correct, baseline, resamples=40_000)
    assert found.mean == pytest.approx(np.mean(d)) == pytest.approx(0.5)
    assert found.low == pytest.approx(np.quantile(means, 0.025), abs=1e-9)
    assert found.high == pytest.approx(np.quantile(means, 0.975), abs=1e-9)


def test_many_pictures_and_one_seed_follow_the_normal_law() -> None:
    correct, baseline = table(1, 10_000, 0.6, 1), table(1, 10_000, 0.5, 2)
    d = correct.astype(float) - baseline
    error = d.std() / 100
    found = paired(correct, baseline, resamples=20_000)
    assert found.low == pytest.approx(d.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(d.mean() + 1.96 * error, abs=0.1 * error)


def test_pairing_narrows_what_is_answered_alike() -> None:
    # Two arms that differ on 300 pictures of 10,000 only: the interval knows those, not the difficulty of all pictures.
    baseline = table(3, 10_000, 0.5, 1)
    correct = baseline.copy()
    correct[:, :300] = True
    found = paired(correct, baseline)
    apart = paired(correct, np.random.default_rng(2).permuted(baseline, axis=1))
    assert found.excludes_zero and found.high - found.low < 0.25 * (apart.high - apart.low)


def test_seeds_that_disagree_widen_it() -> None:
    baseline = np.zeros((3, 5000), bool)
    agree, differ = (np.stack([table(1, 5000, share, n)[0] for n, share in enumerate(shares)])
                     for shares in ((0.2, 0.2, 0.2), (0.0, 0.2, 0.4)))
    narrow, wide = paired(agree, baseline), paired(differ, baseline)
    assert wide.high - wide.low > 8 * (narrow.high - narrow.low)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(20, 60), st.floats(0, 1), st.integers(0, 99))
def test_it_repeats_and_turns_with_the_sign(seeds: int, pictures: int, share: float, seed: int) -> None:
    a, b = table(seeds, pictures, share, seed), table(seeds, pictures, 0.5, seed + 1)
    one, other = paired(a, b, resamples=500), paired(b, a, resamples=500)
    assert -1 <= one.low <= one.high <= 1 and one == paired(a, b, resamples=500)
    assert one.mean == pytest.approx(-other.mean)
    assert abs(one.low + other.high) <= max(0.3 * (one.high - one.low), 1e-12)  # other resamples: kinds come in another order
    assert paired(a, a, resamples=50).high == 0
    assert alone(a, resamples=50).mean == pytest.approx(a.mean())


def test_the_best_of_several_baselines_is_the_first_highest() -> None:
    assert better_of(table(2, 50, 0.2, 0), table(2, 50, 0.9, 1), table(2, 50, 0.9, 1)) == 1


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"two tables \(seeds, pictures\) of one shape, got \(2, 5\) and \(2, 4\)"):
        paired(table(2, 5, 0.5, 0), table(2, 4, 0.5, 0))
    with pytest.raises(ValueError, match="a level in \\(0, 1\\)"):
        paired(table(2, 5, 0.5, 0), table(2, 5, 0.5, 0), level=1)
