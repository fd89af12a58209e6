"""What a discrete autoencoder costs: laws by hand, at their ends, and against densities that sum to 1."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from viewmill.losses.dvae import half_cosine, kl_to_uniform, logit_laplace, perplexity


def test_even_codes_cost_nothing_and_a_sure_one_ln_k() -> None:
    assert float(kl_to_uniform(torch.full((2, 8192, 3, 1), 0.7))) == pytest.approx(0.0, abs=1e-5)
    sure = torch.zeros(1, 8192, 1)
    sure[0, 5] = 200.0
    assert float(kl_to_uniform(sure)) == pytest.approx(math.log(8192), rel=1e-6)  # 9.01
    assert math.log(8192) == pytest.approx(9.01, abs=0.005)


def test_the_kl_is_the_mean_over_images_and_places() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 5, 2, 4))
    q = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = (q * (np.log(q) + np.log(5))).sum(1).mean()
    assert float(kl_to_uniform(torch.from_numpy(logits))) == pytest.approx(expected, rel=1e-12)


def test_logit_laplace_by_hand() -> None:
    # y = 0.8, whose logit is ln 4; mean 1, scale 0.5: ln(2 * 0.5 * 0.16) + (ln 4 - 1) / 0.5
    told = logit_laplace(torch.tensor([0.8]), torch.tensor([1.0]), torch.tensor([math.log(0.5)]))
    assert float(told) == pytest.approx(math.log(0.16) + (math.log(4) - 1) / 0.5, rel=1e-6)


@pytest.mark.parametrize(("mean", "scale"), [(0.3, 0.5), (-1.2, 0.9)])
def test_logit_laplace_is_a_density_over_0_to_1(mean: float, scale: float) -> None:
    y = (np.arange(400_000) + 0.5) / 400_000
    of = [float(logit_laplace(*(torch.tensor([each], dtype=torch.float64) for each in (value, mean, math.log(scale)))))
          for value in y[::40_000]]
    expected = np.log(2 * scale * y * (1 - y)) + np.abs(np.log(y / (1 - y)) - mean) / scale
    np.testing.assert_allclose(of, expected[::40_000], rtol=1e-9)
    assert np.exp(-expected).mean() == pytest.approx(1.0, abs=1e-3)


def test_the_cost_of_a_picture_is_the_mean_over_its_values() -> None:
    y, mean, log_scale = torch.rand(3, 2, 3, 4, 4) * 0.8 + 0.1
    each = [float(logit_laplace(*(t.flatten()[i : i + 1] for t in (y, mean, log_scale)))) for i in range(y.numel())]
    assert float(logit_laplace(y, mean, log_scale)) == pytest.approx(np.mean(each), rel=1e-4)


def test_perplexity_counts_codes_that_are_used_alike() -> None:
    assert float(perplexity(torch.tensor([5, 5, 0, 5, 5]))) == pytest.approx(4.0)
    assert float(perplexity(torch.tensor([9, 0, 0]))) == pytest.approx(1.0) and float(perplexity(torch.zeros(3))) == 1.0
    # Shares of 1/2, 1/4, 1/4: an entropy of 1.5 bits.
    assert float(perplexity(torch.tensor([2, 1, 1]))) == pytest.approx(2**1.5)


def test_half_a_cosine_goes_from_its_first_to_its_last_value_and_stays() -> None:
    def at(progress: float, share: float = 0.5) -> float:
        return float(half_cosine(torch.tensor(progress), 1.0, 1 / 16, share))

    assert at(0.0) == 1.0 and at(0.5) == pytest.approx(1 / 16) and at(0.9) == pytest.approx(1 / 16)
    assert at(0.25) == pytest.approx((1 + 1 / 16) / 2) and at(0.5 / 3) == pytest.approx(1 - 15 / 16 / 4)
    assert at(1e-9, 0.0) == pytest.approx(1 / 16)  # at once
