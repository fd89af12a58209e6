"""Average precision: by hand, and beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from viewmill.evaluation.average_precision import (
    all_point,
    eleven_point,
    mean_average_precision,
    precision_recall,
    summed,
)

SCORE = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
POSITIVE = np.array([0, 1, 1, 0, 1], bool)
"""By rank: precisions 0, 1/2, 2/3, 1/2, 3/5 at recalls 0, 1/3, 2/3, 2/3, 1."""


def test_a_ranking_of_five_by_hand() -> None:
    recall, precision = precision_recall(SCORE, POSITIVE)
    np.testing.assert_allclose(recall, [0, 1 / 3, 2 / 3, 2 / 3, 1])
    np.testing.assert_allclose(precision, [0, 1 / 2, 2 / 3, 1 / 2, 3 / 5])
    assert summed(recall, precision) == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 3)
    # Made falling, the precision is 2/3 up to a recall of 2/3, and 3/5 to the end.
    assert all_point(recall, precision) == pytest.approx(2 / 3 * 2 / 3 + 1 / 3 * 3 / 5)
    # 2/3 at 0, 0.1, ... 0.6; 3/5 at 0.7, 0.8, 0.9 and 1.
    assert eleven_point(recall, precision) == pytest.approx((7 * 2 / 3 + 4 * 3 / 5) / 11)


def test_a_recall_of_three_tenths_reaches_the_fourth_point() -> None:
    """0.1 * 3 is above 3 / 10 in floating point."""
    recall, precision = precision_recall(-np.arange(13.0), np.array([1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1], bool))
    best_after_three = 10 / 13
    assert eleven_point(recall, precision) == pytest.approx((4 * 1 + 7 * best_after_three) / 11)


def test_a_recall_that_is_not_reached_counts_nothing() -> None:
    assert eleven_point(np.array([0.25, 0.5]), np.array([1.0, 0.5])) == pytest.approx((3 * 1 + 3 * 0.5) / 11)
    assert all_point(np.array([0.25, 0.5]), np.array([1.0, 0.5])) == 0.25 + 0.125


@pytest.mark.parametrize("levels", [1000, 7])
def test_the_plain_sum_is_scikit_learn_s(levels: int) -> None:
    """levels=7: most scores are shared by many."""
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, levels, 200) / levels, rng.random(200) < 0.2
    found = summed(*precision_recall(score, positive))
    assert found == pytest.approx(average_precision_score(positive, score)) and 0.1 < found < 0.4
    shuffled = rng.permutation(200)
    assert found == summed(*precision_recall(score[shuffled], positive[shuffled]))


def test_what_has_no_finite_score_shares_the_last_place() -> None:
    for positive in ([1, 0, 1, 0], [1, 0, 0, 1]):
        recall, precision = precision_recall(np.array([2.0, 1.0, -np.inf, -np.inf]), np.array(positive, bool))
        assert recall.tolist() == [0.5, 0.5, 1] and precision.tolist() == [1, 0.5, 0.5]


def test_what_is_ignored_has_no_part_and_a_class_that_nothing_shows_no_figure() -> None:
    score = np.stack([SCORE, SCORE, -SCORE], 1)
    target = np.stack([POSITIVE, np.zeros(5), POSITIVE], 1).astype(np.int8)
    target[0, 0] = -1
    means, by_class = mean_average_precision(score, target)
    assert by_class["map_summed"][0] == pytest.approx((1 + 1 + 3 / 4) / 3) and np.isnan(by_class["map_all_point"][1])
    assert by_class["map_11_point"][2] == pytest.approx((4 * 1 + 7 * 3 / 4) / 11)
    assert means["map_summed"] == pytest.approx(((1 + 1 + 3 / 4) / 3 + (1 + 2 / 3 + 3 / 4) / 3) / 2)


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a score and a truth each, got shapes \(5,\) and \(4,\)"):
        precision_recall(SCORE, POSITIVE[:4])
    with pytest.raises(ValueError, match="got 0 positives of 5, 0 scores that are none"):
        precision_recall(SCORE, np.zeros(5, bool))
    with pytest.raises(ValueError, match="got 3 positives of 5, 1 scores that are none"):
        precision_recall(np.where(SCORE == 0.7, np.nan, SCORE), POSITIVE)
    with pytest.raises(ValueError, match="needs a class that some picture shows"):
        mean_average_precision(np.zeros((2, 2)), np.zeros((2, 2)))
