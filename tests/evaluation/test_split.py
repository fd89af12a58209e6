"""Which training pictures choose."""

from __future__ import annotations

import numpy as np
import pytest
from viewmill.evaluation.split import hold_out


def test_of_each_class_the_same_share_chooses() -> None:
    label = np.repeat([0, 1, 4], [100, 50, 10])
    train, choose = hold_out(label, 0.2)
    assert np.bincount(label[choose]).tolist() == [20, 10, 0, 0, 2]
    assert sorted([*train, *choose]) == list(range(160)) and (np.diff(train) > 0).all() and (np.diff(choose) > 0).all()


def test_the_part_is_random_and_the_same_each_time() -> None:
    label = np.zeros(1000, np.int64)
    _, choose = hold_out(label, 0.2)
    assert np.array_equal(choose, hold_out(label, 0.2)[1]) and 430 < choose.mean() < 570 and len(set(choose % 5)) == 5


def test_no_class_goes_as_a_whole() -> None:
    train, choose = hold_out(np.array([0, 0, 1, 2, 2]), 0.9)
    assert len(choose) == 2 and set(np.array([0, 0, 1, 2, 2])[train]) == {0, 1, 2}


def test_a_split_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"split=0.1 of 4 training images in 2 classes leaves none to choose by"):
        hold_out(np.array([0, 0, 1, 1]), 0.1)
