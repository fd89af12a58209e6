"""Which answers are right, by hand."""

from __future__ import annotations

import pytest
import torch
from viewmill.evaluation.accuracy import among_best, top


def test_right_is_a_label_among_the_highest_scores() -> None:
    scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
    label = torch.tensor([1, 1, 0])
    assert among_best(scores, label, 1).tolist() == [True, False, False]
    assert among_best(scores, label, 2).tolist() == [True, True, False]
    heads = torch.stack([scores, scores.flip(1)], 1)  # (N, 2, C)
    assert among_best(heads, label, 1).tolist() == [[True, True], [False, False], [False, True]]


def test_of_equal_scores_the_lower_class_is_the_answer() -> None:
    assert among_best(torch.ones(3, 4), torch.arange(3), 2).tolist() == [True, True, False]


def test_five_best_need_five_classes() -> None:
    assert top(torch.eye(4), torch.tensor([0, 1, 2, 0])) == {"top1": 0.75}
    assert top(torch.eye(5), torch.tensor([0, 1, 2, 3, 0])) == {"top1": 0.8, "top5": 1.0}


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        among_best(torch.tensor([[1.0, torch.nan]]), torch.tensor([0]), 1)
