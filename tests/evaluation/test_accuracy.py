"""Which answers are right, by hand."""

from __future__ import annotations

import pytest
import torch
from viewmill.evaluation.accuracy import best_classes, right, shares

SCORES = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])


def test_the_best_classes_come_first() -> None:
    assert best_classes(SCORES).tolist() == [[1, 2, 0], [0, 1, 2], [2, 1, 0]]
    assert best_classes(torch.arange(7.0)[None]).tolist() == [[6, 5, 4, 3, 2]]


def test_right_is_a_label_among_the_best() -> None:
    label = torch.tensor([1, 1, 0])
    assert right(best_classes(SCORES), label).tolist() == [True, False, False]
    assert right(best_classes(SCORES), label, 2).tolist() == [True, True, False]
    heads = best_classes(torch.stack([SCORES, SCORES.flip(1)], 1))  # (N, 2 heads, k)
    assert right(heads, label).tolist() == [[True, True], [False, False], [False, True]]


def test_five_best_need_five_classes() -> None:
    assert shares(best_classes(torch.eye(4)), torch.tensor([0, 1, 2, 0])) == {"top1": 0.75}
    assert shares(best_classes(torch.eye(5)), torch.tensor([0, 1, 2, 3, 0])) == {"top1": 0.8, "top5": 1.0}


def test_scores_that_are_not_finite_are_never_right() -> None:
    best = best_classes(torch.tensor([[1.0, torch.nan], [torch.inf, 1.0], [2.0, 1.0]]))
    assert best.tolist() == [[-1, -1], [-1, -1], [0, 1]] and right(best, torch.zeros(3)).tolist() == [False, False, True]
    with pytest.raises(ValueError, match=r"diverged: .* use a lower rate"):
        shares(best[:2], torch.zeros(2))
