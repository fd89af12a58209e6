"""What colours cost, as classes and as numbers, against the papers' sums written out in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from viewmill.losses.colours import half_squared_error, smoothed, soft_cross_entropy, weighted_mean

N, Q, K, H, W = 2, 7, 3, 2, 4


def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    index = rng.permuted(np.broadcast_to(np.arange(Q)[:, None, None], (N, Q, H, W)).copy(), axis=1)[:, :K]
    weight = rng.random((N, K, H, W))
    return rng.normal(0, 2, (N, Q, H, W)), index, weight / weight.sum(1, keepdims=True)


def by_hand(logits: np.ndarray, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    cost = np.zeros((N, H, W))
    for n, h, w in np.ndindex(N, H, W):
        z = np.zeros(Q)
        z[index[n, :, h, w]] = weight[n, :, h, w]
        p = np.exp(logits[n, :, h, w])
        cost[n, h, w] = -(z * np.log(p / p.sum())).sum()
    return cost


def test_the_cost_of_a_soft_target_is_the_sum_over_all_classes() -> None:
    found = soft_cross_entropy(*map(torch.from_numpy, case()))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), by_hand(*case()), rtol=1e-12)


def test_one_class_alone_is_the_usual_cross_entropy() -> None:
    logits, index, _ = case()
    found = soft_cross_entropy(torch.from_numpy(logits), torch.from_numpy(index[:, :1]), torch.ones(N, 1, H, W))
    usual = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(index[:, 0]), reduction="none")
    torch.testing.assert_close(found, usual)


def test_a_network_that_says_nothing_pays_the_logarithm_of_the_classes() -> None:
    _, index, weight = case()
    found = soft_cross_entropy(torch.zeros(N, 313, H, W), torch.from_numpy(index), torch.from_numpy(weight).float())
    torch.testing.assert_close(found, torch.full((N, H, W), math.log(313)))


def test_the_gradient_is_that_of_the_sum() -> None:
    logits, index, weight = case()
    pixel = np.random.default_rng(1).random((N, H, W))
    given = torch.from_numpy(logits).requires_grad_()
    cost = soft_cross_entropy(given, torch.from_numpy(index), torch.from_numpy(weight))
    weighted_mean(cost, torch.from_numpy(pixel)).backward()
    assert given.grad is not None
    for place in ((0, 0, 0, 0), (1, 3, 1, 2), (1, 6, 0, 3), (0, 5, 1, 1)):
        step = np.zeros_like(logits)
        step[place] = 1e-6
        more, less = (float((pixel * by_hand(logits + sign * step, index, weight)).mean()) for sign in (1, -1))
        assert float(given.grad[place]) == pytest.approx((more - less) / 2e-6, abs=1e-8)


def test_the_mean_is_over_pixels_and_not_over_weights() -> None:
    cost, weight = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[[0.0, 0.0], [2.0, 0.5]]])
    assert float(weighted_mean(cost, weight)) == pytest.approx((6 + 2) / 4)


def test_half_a_squared_distance_by_hand() -> None:
    prediction = torch.tensor([[[[1.0, 0.0]], [[2.0, -1.0]], [[0.0, 5.0]]]])  # three channels of two pixels
    target = torch.tensor([[[[0.0, 0.0]], [[0.0, 3.0]], [[0.0, 6.0]]]])
    assert float(half_squared_error(prediction, target)) == pytest.approx(((1 + 4) / 2 + (16 + 1) / 2) / 2)
    with pytest.raises(ValueError, match=r"need one shape, got \(1, 3, 1, 2\) and \(1, 1, 1, 2\)"):
        half_squared_error(prediction, target[:, :1])


def test_autocast_leaves_the_costs_exact() -> None:
    logits, index, weight = map(torch.from_numpy, case())
    exact = soft_cross_entropy(logits, index, weight).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = soft_cross_entropy(logits.float(), index, weight.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact)
    assert soft_cross_entropy(logits.bfloat16(), index, weight.bfloat16()).dtype == torch.float32


def test_a_prior_is_smoothed_by_a_gaussian_and_keeps_its_sum() -> None:
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [30.0, 40.0]])
    prior = np.array([8.0, 0.0, 4.0, 1.0])
    kernel = np.exp(-((centres[:, None] - centres) ** 2).sum(-1) / (2 * 5.0**2))
    expected = np.zeros(4)
    for q in range(4):  # what class q has, among all
        expected += prior[q] * kernel[:, q] / kernel[:, q].sum()
    found = smoothed(torch.from_numpy(prior), torch.from_numpy(centres).float(), 5.0)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    assert float(found.sum()) == pytest.approx(13) and float(found[1]) > 0
    assert torch.equal(smoothed(torch.from_numpy(prior), torch.from_numpy(centres), 0), torch.from_numpy(prior))


def test_what_does_not_fit_is_refused() -> None:
    logits, index, weight = map(torch.from_numpy, case())
    with pytest.raises(ValueError, match=r"index and weight \(N, K, H, W\), got \(2, 7, 2, 4\), \(2, 3, 2, 3\)"):
        soft_cross_entropy(logits, index[..., :3], weight)
    with pytest.raises(ValueError, match="a sigma of at least 0, got -1"):
        smoothed(torch.ones(2), torch.zeros(2, 2), -1)
