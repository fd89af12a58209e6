"""Noise-contrastive estimation, against the paper's formula in float64 NumPy and against values by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from viewmill.losses.nce import nce, nce_terms


def by_formula(scores: np.ndarray, temperature: float, z: float, images: int) -> float:
    """J = -log h(own) - sum over noise of log(1 - h), h = P / (P + m Pn); Wu et al. 2018, equations 4 to 7."""
    total, m = 0.0, scores.shape[1] - 1
    for own, *noise in scores.astype(np.float64):
        h = [math.exp(s / temperature) / z / (math.exp(s / temperature) / z + m / images) for s in (own, *noise)]
        total -= math.log(h[0]) + sum(math.log(1 - value) for value in h[1:])
    return total / len(scores)


@pytest.mark.parametrize(("images", "m", "z"), [(10, 3, 40.0), (1000, 64, 2e4), (50, 1, 50.0)])
def test_the_papers_formula(images: int, m: int, z: float) -> None:
    scores = np.random.default_rng(0).uniform(-1, 1, (5, 1 + m))
    ours = nce(torch.from_numpy(scores), temperature=0.2, z=z, images=images)
    assert float(ours) == pytest.approx(by_formula(scores, 0.2, z, images), rel=1e-4)  # 1e-7 in the authors' denominators


def test_values_by_hand() -> None:
    # 4 images, 2 drawn: m Pn = 1/2. exp(0) / 2 = 1/2 each, so h = 1/2 for all: 3 ln 2.
    assert float(nce(torch.zeros(1, 3), temperature=1.0, z=2.0, images=4)) == pytest.approx(3 * math.log(2), rel=1e-6)
    # Own row: exp(ln 3) / 2 = 3/2, h = 3/4; noise as before.
    terms = nce_terms(torch.tensor([[math.log(3.0), 0.0, 0.0]]), temperature=1.0, z=2.0, images=4)
    torch.testing.assert_close(terms, torch.tensor([[math.log(4 / 3), math.log(2), math.log(2)]]), rtol=1e-6, atol=1e-6)


def test_the_gradient_by_finite_differences() -> None:
    scores = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: nce(s, temperature=0.3, z=30.0, images=20), scores)


def test_the_order_of_the_noise_does_not_matter_and_a_nearer_own_row_costs_less() -> None:
    scores = torch.rand(4, 9, generator=torch.Generator().manual_seed(1))
    mixed = scores[:, [0, 3, 2, 1, 8, 7, 6, 5, 4]]
    value = nce(scores, temperature=0.1, z=90.0, images=30)
    torch.testing.assert_close(nce(mixed, temperature=0.1, z=90.0, images=30), value)
    nearer = scores + torch.tensor([0.1] + [0.0] * 8)
    assert nce(nearer, temperature=0.1, z=90.0, images=30) < value


def test_half_precision_is_computed_in_float32() -> None:
    scores = torch.full((1, 3), 0.9, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert nce(scores, temperature=0.07, z=1e8, images=10**6).dtype == torch.float32


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature and z need numbers above 0, got 0 and 1"):
        nce(torch.zeros(1, 2), temperature=0, z=1, images=2)
