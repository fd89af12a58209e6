"""Intersection over union of maps of classes: by hand, and as scikit-learn has it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, jaccard_score
from viewmill.evaluation.dense.class_overlap import counted, figures


def test_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 2, 1, 255]], np.uint8)
    told = np.array([[0, 1, 1, 1], [0, 0, 1, 2]], np.uint8)
    counts = counted(truth, told, 4)
    assert counts.tolist() == [[2, 1, 0, 0], [0, 3, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    found = figures(counts, "abcd")
    # a: 2 of 2 + 1 + 1; b: 3 of 3 + 1; c: never told; d: nowhere.
    assert found["iou"] == {"a": 0.5, "b": 0.75, "c": 0.0} and found["miou"] == pytest.approx(1.25 / 3)
    assert found["pixel_accuracy"] == 5 / 7 and found["mean_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_as_scikit_learn_of_all_pictures_together() -> None:
    rng = np.random.default_rng(0)
    truth, told = rng.integers(0, 5, (2, 3, 11, 7)).astype(np.uint8)
    told = np.where(rng.uniform(size=told.shape) < 0.5, truth, told)
    found = figures(sum(counted(a, b, 5) for a, b in zip(truth, told, strict=True)), "abcde")
    flat = truth.reshape(-1), told.reshape(-1)
    assert found["miou"] == pytest.approx(jaccard_score(*flat, average="macro"), abs=1e-12)
    assert found["pixel_accuracy"] == pytest.approx(accuracy_score(*flat), abs=1e-12)
    assert found["mean_accuracy"] == pytest.approx(balanced_accuracy_score(*flat), abs=1e-12)
