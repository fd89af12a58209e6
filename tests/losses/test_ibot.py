"""iBOT's loss of masked patches: what each patch costs, and how many of an image's and how many images count how much."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from viewmill.losses.ibot import patch_costs, patch_weights


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def authors(student: np.ndarray, teacher: np.ndarray, mask: np.ndarray, temperature: float) -> float:
    """Loops over views, images and patches: logits (G, B, L, K), distributions (G, B, L, K), masks (G, B, L)."""
    total = 0.0
    for view in range(len(mask)):
        of_images = []
        for image in range(mask.shape[1]):
            cost = sum(-(teacher[view, image, place] * np.log(softmax(student[view, image, place] / temperature))).sum()
                       for place in range(mask.shape[2]) if mask[view, image, place])
            of_images.append(cost / max(mask[view, image].sum(), 1))
        total += np.mean(of_images)
    return total / len(mask)


def test_the_mean_over_an_images_masked_patches_then_over_images_and_views() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 3, 4, 5)), softmax(rng.normal(size=(2, 3, 4, 5)))
    mask = np.array([[[1, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]], [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]]], bool)
    flat = torch.from_numpy(mask).flatten(0, 1)
    costs = patch_costs(torch.from_numpy(student).flatten(0, 1)[flat], torch.from_numpy(teacher).flatten(0, 1)[flat], 0.3)
    assert costs.shape == (10,)
    assert float(costs @ patch_weights(flat).double()) == pytest.approx(authors(student, teacher, mask, 0.3), rel=1e-6)


def test_weights_by_hand() -> None:
    mask = torch.tensor([[True, False, True], [False, False, False], [False, True, False], [True, True, True]])
    # Four images, of which one has no mask.
    expected = [1 / 8, 1 / 8, 1 / 4, 1 / 12, 1 / 12, 1 / 12]
    assert patch_weights(mask).tolist() == pytest.approx(expected)
    assert patch_weights(torch.zeros(3, 5, dtype=torch.bool)).shape == (0,)


def test_a_patchs_cost_by_hand() -> None:
    # Sure of the second of two, whose odds are 3 to 1 for the student: -log(3 / 4); unsure: half each.
    student = torch.tensor([[0.0, np.log(3.0)], [0.0, np.log(3.0)]]) * 0.5
    costs = patch_costs(student, torch.tensor([[0.0, 1.0], [0.5, 0.5]]), 0.5)
    assert costs.tolist() == pytest.approx([-np.log(0.75), -(np.log(0.75) + np.log(0.25)) / 2], rel=1e-5)


def test_the_gradient_is_the_slope_and_reaches_the_student_alone() -> None:
    rng = np.random.default_rng(1)
    student = torch.from_numpy(rng.normal(size=(3, 4))).requires_grad_()
    teacher = torch.from_numpy(softmax(rng.normal(size=(3, 4)))).requires_grad_()
    patch_costs(student, teacher, 0.2).sum().backward()
    assert student.grad is not None and teacher.grad is None
    slope = (softmax(student.detach().numpy() / 0.2) - teacher.detach().numpy()) / 0.2
    np.testing.assert_allclose(student.grad.numpy(), slope, rtol=1e-10)


def test_half_precision_is_computed_in_float32() -> None:
    student, teacher = torch.randn(4, 9).bfloat16(), torch.full((4, 9), 1 / 9)
    with torch.autocast("cpu", torch.bfloat16):
        costs = patch_costs(student, teacher, 0.1)
    assert costs.dtype == torch.float32
    expected = -np.log(softmax(student.double().numpy() / 0.1)).mean(1)
    np.testing.assert_allclose(costs.numpy(), expected, rtol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="student's temperature needs a number above 0, got 0"):
        patch_costs(torch.zeros(2, 3), torch.zeros(2, 3), 0)
    with pytest.raises(ValueError, match=r"student and teacher need \(n, K\) both, got \(2, 3\) and \(3, 3\)"):
        patch_costs(torch.zeros(2, 3), torch.zeros(3, 3), 0.1)
    for mask in (torch.zeros(2, 3, 4, dtype=torch.bool), torch.zeros(2, 3)):
        with pytest.raises(ValueError, match=r"masks need \(N, L\) bool"):
            patch_weights(mask)
