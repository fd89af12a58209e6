"""DINO's loss, center and entropies, against the paper's algorithm written out in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from viewmill.losses.dino import dino_loss, normalized_entropy, teacher_distribution, updated_center


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def logits(views: int, images: int, choices: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.5, (views, images, choices))


def by_hand(student: np.ndarray, teacher: np.ndarray, center: np.ndarray, student_t: float, teacher_t: float) -> float:
    """Loop over pairs of a teacher's view and another view of the student's, H(a, b) = -a log b, mean over images."""
    terms = []
    for i in range(len(teacher)):
        for j in range(len(student)):
            if i != j:
                for image in range(teacher.shape[1]):
                    a = softmax((teacher[i, image] - center) / teacher_t)
                    b = softmax(student[j, image] / student_t)
                    terms.append(-(a * np.log(b)).sum())
    return float(np.mean(terms))


@pytest.mark.parametrize(("given", "views"), [(2, 2), (2, 3), (2, 8), (2, 10), (1, 2), (3, 5)])
def test_the_mean_over_pairs_of_different_views(given: int, views: int) -> None:
    student, teacher, center = logits(views, 3, 7), logits(given, 3, 7, 1), logits(1, 1, 7, 2)[0, 0]
    q = teacher_distribution(torch.from_numpy(teacher), torch.from_numpy(center), 0.04)
    np.testing.assert_allclose(q.numpy(), softmax((teacher - center) / 0.04), rtol=1e-12)
    loss = dino_loss(torch.from_numpy(student), q, 0.1)
    assert float(loss) == pytest.approx(by_hand(student, teacher, center, 0.1, 0.04), rel=1e-12)
    in_float32 = dino_loss(torch.from_numpy(student).float(), q.float(), 0.1)
    assert in_float32.dtype == torch.float32 and float(in_float32) == pytest.approx(float(loss), rel=1e-5)


def test_each_pair_counts_once_and_none_of_a_view_with_itself() -> None:
    # One image, two choices. The teacher's views name choice 0 and choice 1, with certainty. -log b[0], -log b[1] of each view:
    student = torch.tensor([[[0.0, 1.0]], [[2.0, 0.0]], [[0.0, 3.0]]], dtype=torch.float64)
    teacher = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]], dtype=torch.float64)
    soft = lambda x: math.log(1 + math.exp(x))  # noqa: E731
    first = [soft(-2), soft(3)]  # choice 0: views 1 and 2, not 0
    second = [soft(-1), soft(-3)]  # choice 1: views 0 and 2, not 1
    assert float(dino_loss(student, teacher, 1.0)) == pytest.approx(sum(first + second) / 4, rel=1e-12)


def test_with_one_given_view_its_own_student_gets_no_gradient() -> None:
    student = torch.randn(3, 2, 5, requires_grad=True)
    teacher = teacher_distribution(torch.randn(1, 2, 5), torch.zeros(5), 0.5)
    dino_loss(student, teacher, 0.1).backward()
    assert student.grad is not None
    assert float(student.grad[0].abs().sum()) == 0 and (student.grad[1:].abs().sum((1, 2)) > 0).all()


def test_the_gradient_is_the_slope() -> None:
    student = torch.from_numpy(logits(4, 2, 5)).requires_grad_()
    teacher = teacher_distribution(torch.from_numpy(logits(2, 2, 5, 1)), torch.zeros(5, dtype=torch.float64), 0.3)
    dino_loss(student, teacher, 0.2).backward()
    assert student.grad is not None
    for place in np.ndindex(4, 2, 5):
        step = torch.zeros_like(student.detach())
        step[place] = 1e-6
        rise = dino_loss(student.detach() + step, teacher, 0.2) - dino_loss(student.detach() - step, teacher, 0.2)
        assert float(student.grad[place]) == pytest.approx(float(rise) / 2e-6, abs=1e-8)


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = torch.randn(2, 3, 4, requires_grad=True)
    q = teacher_distribution(teacher, torch.zeros(4), 0.1)
    assert not q.requires_grad
    given = torch.full((2, 3, 4), 0.25, requires_grad=True)
    dino_loss(torch.randn(2, 3, 4, requires_grad=True), given, 0.1).backward()
    assert given.grad is None


def test_half_precision_is_computed_in_float32() -> None:
    student, teacher = torch.randn(3, 4, 9).bfloat16(), torch.randn(2, 4, 9).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        q = teacher_distribution(teacher, torch.zeros(9), 0.04)
        loss = dino_loss(student, q, 0.1)
    assert q.dtype == loss.dtype == torch.float32
    expected = by_hand(student.double().numpy(), teacher.double().numpy(), np.zeros(9), 0.1, 0.04)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_the_center_moves_a_tenth_of_the_way() -> None:
    center, mean = torch.tensor([1.0, -2.0, 0.0]), torch.tensor([2.0, 0.0, -1.0])
    torch.testing.assert_close(updated_center(center, mean, 0.9), torch.tensor([1.1, -1.8, -0.1]))
    assert torch.equal(updated_center(center, mean, 1.0), center) and torch.equal(updated_center(center, mean, 0.0), mean)


def test_entropies_between_certainty_and_none() -> None:
    assert normalized_entropy(torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.25] * 4, [0.5, 0.5, 0.0, 0.0]])).tolist() == \
        pytest.approx([0, 1, 0.5])
    p = softmax(logits(1, 5, 6))[0]
    np.testing.assert_allclose(normalized_entropy(torch.from_numpy(p)).numpy(), -(p * np.log(p)).sum(1) / np.log(6), rtol=1e-12)


def test_what_does_not_fit_is_refused() -> None:
    q = torch.full((2, 3, 4), 0.25)
    with pytest.raises(ValueError, match="student's temperature needs a number above 0, got 0"):
        dino_loss(torch.randn(3, 3, 4), q, 0)
    with pytest.raises(ValueError, match=r"teacher's temperature needs a number above 0, got -1"):
        teacher_distribution(q, torch.zeros(4), -1)
    for shape in ((3, 2, 4), (3, 3, 5), (1, 3, 4), (3, 4)):
        with pytest.raises(ValueError, match="need to fit, with G <= V"):
            dino_loss(torch.randn(*shape), q, 0.1)
    with pytest.raises(ValueError, match="at least 2 views, 1 of them the teacher's, got 1 and 1"):
        dino_loss(torch.randn(1, 3, 4), q[:1], 0.1)
    with pytest.raises(ValueError, match=r"center's momentum needs a number in \[0, 1\], got 1\.1"):
        updated_center(torch.zeros(2), torch.zeros(2), 1.1)
    with pytest.raises(ValueError, match="needs K >= 2 choices, got 1"):
        normalized_entropy(torch.ones(3, 1))
