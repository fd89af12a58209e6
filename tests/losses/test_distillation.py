"""Distillation against values by hand and SimCLR v2's equations 2 and 3 written out in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from viewmill.losses.distillation import distillation, distillation_with_labels


def probability(scores: np.ndarray, temperature: float) -> np.ndarray:
    powers = np.exp(scores.astype(np.float64) / temperature)
    return powers / powers.sum()


def equation_2(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    """-sum over images and classes of P_T(y|x; T) log P_S(y|x; T)."""
    return -sum(float((probability(t, temperature) * np.log(probability(s, temperature))).sum())
                for s, t in zip(student, teacher, strict=True))


def equation_3(student: np.ndarray, teacher: np.ndarray, label: list[int], temperature: float, alpha: float) -> float:
    """The labels' sum is over the labelled images alone, at temperature 1."""
    labelled = -sum(math.log(probability(s, 1.0)[y]) for s, y in zip(student, label, strict=True) if y >= 0)
    return (1 - alpha) * labelled + alpha * equation_2(student, teacher, temperature)


def scores(images: int = 5, classes: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    student, teacher = torch.randn(2, images, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2
    return student, teacher


def test_two_classes_by_hand() -> None:
    # The teacher says 3 : 1, the student 1 : 1; then the student 1 : 3.
    teacher = torch.tensor([[math.log(3.0), 0.0]])
    assert float(distillation(torch.zeros(1, 2), teacher, 1.0)) == pytest.approx(math.log(2), rel=1e-6)
    expected = -(0.75 * math.log(0.25) + 0.25 * math.log(0.75))
    assert float(distillation(torch.tensor([[0.0, math.log(3.0)]]), teacher, 1.0)) == pytest.approx(expected, rel=1e-6)
    # At temperature 2 the teacher says sqrt(3) : 1; the official scale is four times the paper's.
    assert float(distillation(torch.zeros(1, 2), teacher, 2.0, scale="paper")) == pytest.approx(math.log(2), rel=1e-6)
    assert float(distillation(torch.zeros(1, 2), teacher, 2.0)) == pytest.approx(4 * math.log(2), rel=1e-6)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
def test_equals_the_papers_equation_2(temperature: float) -> None:
    student, teacher = scores()
    expected = equation_2(student.numpy(), teacher.numpy(), temperature) / 5
    assert float(distillation(student, teacher, temperature, scale="paper")) == pytest.approx(expected, rel=1e-12)
    assert float(distillation(student, teacher, temperature)) == pytest.approx(temperature**2 * expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("label", [[2, -1, 0, -1, 3], [-1] * 5, [0, 1, 2, 3, 0]])
def test_equals_the_papers_equation_3(alpha: float, label: list[int]) -> None:
    student, teacher = scores()
    found = distillation_with_labels(student, teacher, torch.tensor(label), 2.0, alpha, scale="paper")
    expected = equation_3(student.numpy(), teacher.numpy(), label, 2.0, alpha) / 5
    assert float(found) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_parts_of_a_batch_make_the_whole() -> None:
    # What ranks with equal shares rely on: the mean of their losses is the batch's, wherever the labelled images lie.
    student, teacher = scores(6)
    label = torch.tensor([1, 2, -1, -1, -1, 0])
    parts = [float(distillation_with_labels(*each, 2.0, 0.4))
             for each in zip(student.split(2), teacher.split(2), label.split(2), strict=True)]
    assert sum(parts) / 3 == pytest.approx(float(distillation_with_labels(student, teacher, label, 2.0, 0.4)), rel=1e-12)


def test_the_gradient_is_the_students_and_zero_where_both_agree() -> None:
    student, teacher = (x.requires_grad_() for x in scores())
    label = torch.tensor([2, -1, 0, -1, 3])
    assert torch.autograd.gradcheck(lambda s: distillation(s, teacher.detach(), 0.7), student)
    assert torch.autograd.gradcheck(lambda s: distillation_with_labels(s, teacher.detach(), label, 0.7, 0.4), student)
    distillation(student, teacher, 1.0).backward()
    assert teacher.grad is None and float(student.grad.abs().max()) > 0
    same = teacher.detach().clone().requires_grad_()
    distillation(same, teacher, 3.0).backward()
    assert float(same.grad.abs().max()) < 1e-12


def test_a_shift_of_all_scores_does_not_matter() -> None:
    student, teacher = scores()
    value = float(distillation(student, teacher, 0.5))
    assert float(distillation(student + 7, teacher - 100, 0.5)) == pytest.approx(value, rel=1e-12)


def test_half_precision_is_computed_in_single_precision() -> None:
    student, teacher = (x.bfloat16() for x in scores())
    found = distillation(student, teacher, 0.1)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(distillation(student.double(), teacher.double(), 0.1)), rel=1e-5)


@pytest.mark.parametrize(("change", "message"), [
    ({"temperature": 0.0}, "temperature needs a number above 0, got 0.0"),
    ({"temperature": float("nan")}, "temperature needs a number above 0, got nan"),
    ({"scale": "half"}, "scale needs 'official' or 'paper', got 'half'"),
    ({"teacher": torch.ones(2, 4)}, r"scores of one shape \(B, classes\), got \(2, 3\) and \(2, 4\)"),
])
def test_what_does_not_fit_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distillation(**{"student": torch.ones(2, 3), "teacher": torch.ones(2, 3), "temperature": 1.0, **change})


def test_a_share_outside_0_and_1_is_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha, the share of the teacher's answers, needs a number in \[0, 1\], got 1.5"):
        distillation_with_labels(torch.ones(2, 3), torch.ones(2, 3), torch.tensor([0, 1]), 1.0, 1.5)
