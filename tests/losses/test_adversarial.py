"""Both sides of an adversarial game: values by hand and from the papers' formulas in float64, and their gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from viewmill.losses.adversarial import fooling_bce, fooling_hinge, judging_bce, judging_hinge


def scores(seed: int, *shape: int) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_judge_that_tells_nothing_apart() -> None:
    none = torch.zeros(4, 1)
    assert float(judging_bce(none, none)) == pytest.approx(2 * math.log(2))
    assert float(fooling_bce(none)) == pytest.approx(math.log(2))
    assert float(judging_hinge(none, none)) == 2 and float(fooling_hinge(none)) == 0


def test_by_hand() -> None:
    real, made = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [-3.0]])
    # Hinge: (0 + 2) / 2 of the real ones, (1.5 + 0) / 2 of the others.
    assert float(judging_hinge(real, made)) == pytest.approx(1.75) and float(fooling_hinge(made)) == pytest.approx(1.25)
    told = [1 / (1 + math.exp(-x)) for x in (2.0, -1.0, 0.5, -3.0)]
    expected = -(math.log(told[0]) + math.log(told[1]) + math.log(1 - told[2]) + math.log(1 - told[3])) / 2
    assert float(judging_bce(real, made)) == pytest.approx(expected, rel=1e-6)
    assert float(fooling_bce(made)) == pytest.approx(-(math.log(told[2]) + math.log(told[3])) / 2, rel=1e-6)


def test_the_cross_entropies_are_those_of_the_papers_sigmoid() -> None:
    real, made = scores(0, 7, 1), scores(1, 5, 1)
    p, q = (1 / (1 + np.exp(-x.numpy())) for x in (real, made))
    assert float(judging_bce(real, made)) == pytest.approx(-np.log(p).mean() - np.log(1 - q).mean(), rel=1e-12)
    assert float(fooling_bce(made)) == pytest.approx(-np.log(q).mean(), rel=1e-12)


@pytest.mark.parametrize("law", [judging_bce, judging_hinge])
def test_gradients_of_the_judge(law: object) -> None:
    real, made = scores(2, 3, 2).requires_grad_(), scores(3, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(law, (real, made))  # type: ignore[arg-type]


@pytest.mark.parametrize("law", [fooling_bce, fooling_hinge])
def test_gradients_of_the_maker(law: object) -> None:
    assert torch.autograd.gradcheck(law, (scores(4, 3, 2).requires_grad_(),))  # type: ignore[arg-type]


def test_far_scores_stay_finite_and_half_types_are_widened() -> None:
    far = torch.tensor([[300.0]])
    assert float(judging_bce(-far, far)) == pytest.approx(600) and float(fooling_bce(-far)) == pytest.approx(300)
    assert fooling_hinge(far.bfloat16()).dtype == judging_bce(far.bfloat16(), far.bfloat16()).dtype == torch.float32
