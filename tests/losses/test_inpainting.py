"""Weights of a hole, its ring and what is around it, and the squared errors that they weigh."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from viewmill.losses.inpainting import hole_weights, weighted_mse


def hole_of(rows: slice, columns: slice, size: tuple[int, int] = (6, 8)) -> torch.Tensor:
    hole = torch.zeros(1, *size, dtype=torch.bool)
    hole[0, rows, columns] = True
    return hole


def test_a_ring_by_hand() -> None:
    weight = hole_weights(hole_of(slice(1, 5), slice(2, 7)), 1, 10.0, 0.5)
    half, ring = 0.5, 10.0
    assert weight.shape == (1, 1, 6, 8) and weight[0, 0].tolist() == [
        [half] * 8,
        [half, half, ring, ring, ring, ring, ring, half],
        [half, half, ring, 1, 1, 1, ring, half],
        [half, half, ring, 1, 1, 1, ring, half],
        [half, half, ring, ring, ring, ring, ring, half],
        [half] * 8,
    ]


def test_the_published_ring() -> None:
    """64 px of 128 are predicted, and the outer 4 of them weigh ten times as much."""
    weight = hole_weights(hole_of(slice(32, 96), slice(32, 96), (128, 128)), 4, 10.0, 0.0)[0, 0]
    expected = torch.zeros(128, 128)
    expected[32:96, 32:96] = 10
    expected[36:92, 36:92] = 1
    assert torch.equal(weight, expected)


def test_without_a_ring_and_at_the_images_edge() -> None:
    assert hole_weights(hole_of(slice(0, 2), slice(0, 3)), 0, 10.0, 0.0).sum() == 6
    weight = hole_weights(hole_of(slice(0, 3), slice(0, 8)), 1, 10.0, 0.0)[0, 0]
    assert weight[:, 0].tolist() == [1, 1, 10, 0, 0, 0]  # the hole goes on beyond the edge
    with pytest.raises(ValueError, match=r"hole needs bool, True = to be painted, got torch\.float32"):
        hole_weights(torch.ones(1, 4, 4), 1, 10.0, 0.0)


def test_the_mean_is_over_what_counts_and_weights_multiply_the_errors() -> None:
    rng = np.random.default_rng(0)
    painted, target = rng.normal(size=(2, 2, 3, 4, 5))
    weight = rng.choice([0.0, 1.0, 10.0], size=(2, 1, 4, 5))
    expected = np.mean([(weight[i] * (painted[i] - target[i]) ** 2).sum() / (3 * (weight[i] > 0).sum()) for i in range(2)])
    given = [torch.from_numpy(x) for x in (painted, target, weight)]
    assert float(weighted_mse(*given)) == pytest.approx(expected, rel=1e-12)
    whole = torch.ones(2, 1, 4, 5, dtype=torch.float64)
    assert float(weighted_mse(given[0], given[1], whole)) == pytest.approx(float((given[0] - given[1]).square().mean()))


def test_in_the_ring_the_gradient_is_ten_times_a_plain_means() -> None:
    painted = torch.randn(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    target = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    weight = hole_weights(torch.ones(1, 8, 8, dtype=torch.bool), 0, 1.0, 0.0).double()
    weight[..., 0, :] = 10
    (gradient,) = torch.autograd.grad(weighted_mse(painted, target, weight), painted)
    (plain,) = torch.autograd.grad((painted - target).square().mean(), painted)
    torch.testing.assert_close(gradient[..., 0, :], 10 * plain[..., 0, :])
    torch.testing.assert_close(gradient[..., 1:, :], plain[..., 1:, :])
    assert torch.autograd.gradcheck(lambda x: weighted_mse(x, target, weight), painted)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="need to fit, got"):
        weighted_mse(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5), torch.ones(1, 1, 4, 4))
