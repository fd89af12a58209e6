"""Feature decoupling's losses: by hand, their gradients, and where there must be none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from viewmill.losses.decoupling import invariance_loss, noise_weights, rotation_loss


def test_a_turn_costs_its_cross_entropy_times_its_weight_over_all_views() -> None:
    # Shares 1/2, 1/6, 1/6, 1/6 and 1/4 each: ln 2 and ln 4 by hand.
    logits = torch.tensor([[math.log(3), 0, 0, 0], [1.0, 1.0, 1.0, 1.0]])
    turn = torch.tensor([0, 2])
    assert float(rotation_loss(logits, turn)) == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert float(rotation_loss(logits, turn, torch.tensor([1.0, 0.25]))) == pytest.approx((math.log(2) + math.log(4) / 4) / 2)
    assert float(rotation_loss(logits, turn, torch.zeros(2))) == 0


def test_the_gradient_of_the_turn_is_its_shares_error_times_its_weight() -> None:
    rng = np.random.default_rng(0)
    values, turn, weights = rng.normal(size=(5, 4)), np.array([0, 3, 1, 2, 0]), rng.random(5)
    logits = torch.tensor(values, requires_grad=True)
    rotation_loss(logits, torch.tensor(turn), torch.tensor(weights)).backward()
    shares = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    expected = weights[:, None] * (shares - np.eye(4)[turn]) / 5
    np.testing.assert_allclose(logits.grad, expected, atol=1e-12)


def test_features_that_differ_from_turn_to_turn_cost_their_mean_square() -> None:
    # Two views of two images of one feature: 1 and 3 lie 1 from their mean, 5 and 5 nothing.
    assert float(invariance_loss(torch.tensor([[[1.0], [5.0]], [[3.0], [5.0]]]))) == pytest.approx((1 + 1 + 0 + 0) / 4)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 3, 5))
    expected = np.mean([(x[v, i, d] - x[:, i, d].mean()) ** 2 for v in range(4) for i in range(3) for d in range(5)])
    assert float(invariance_loss(torch.tensor(x))) == pytest.approx(float(expected), rel=1e-12)
    assert float(invariance_loss(torch.tensor(x[:1]))) == 0  # one view is its own mean


def test_its_gradient_holds_the_mean_of_the_views_still() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(4, 2, 3))
    features = torch.tensor(x, requires_grad=True)
    invariance_loss(features).backward()
    mean = x.mean(0)

    def held(at: np.ndarray) -> float:
        return float(((at - mean) ** 2).mean())  # the mean as a number that does not follow

    for place in ((0, 0, 0), (3, 1, 2)):
        step = np.zeros_like(x)
        step[place] = 1e-6
        assert float(features.grad[place]) == pytest.approx((held(x + step) - held(x - step)) / 2e-6, rel=1e-6)


def test_what_looks_upright_though_it_is_turned_counts_little() -> None:
    upright = torch.tensor([[0.9, 0.5, 0.0, 1.0]])
    assert noise_weights(upright).tolist() == [[1, 0.75, 1, 0]]
    assert noise_weights(upright, gamma=1.0).tolist() == [[1, 0.5, 1, 0]]
    assert upright.tolist() == [pytest.approx([0.9, 0.5, 0.0, 1.0])]


def test_half_precision_is_computed_in_float32() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        logits = torch.full((2, 4), 0.1, dtype=torch.bfloat16)
        assert rotation_loss(logits, torch.tensor([0, 1])).dtype == torch.float32
        assert invariance_loss(logits[:, None]).dtype == torch.float32
