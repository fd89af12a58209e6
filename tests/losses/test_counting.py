"""Counting's loss: cases by hand, the paper's formula in NumPy, gradients by differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from viewmill.losses.counting import counting_loss


def counts(count: int, things: int, seed: int, scale: float = 1.0) -> Tensor:
    return torch.from_numpy(scale * np.abs(np.random.default_rng(seed).normal(size=(count, things))))


def test_by_hand() -> None:
    # Of the first picture 1 + 4 and, 10 less 0 + 9, 1; of the second 0 and, 10 less 16 + 4 are below 0, 0.
    whole, parts = torch.tensor([[1.0, 2.0], [3.0, 3.0]]), torch.tensor([[2.0, 4.0], [3.0, 3.0]])
    other = torch.tensor([[2.0, 1.0], [7.0, 5.0]])
    same, differ = counting_loss(whole, parts, other)
    assert (float(same), float(differ)) == (2.5, 0.5)
    # Each by itself: (1 + 4 + 0 + 0) / 4, and (10 - 0) + (10 - 9) + 0 + (10 - 4) over 4.
    same, differ = counting_loss(whole, parts, other, hinge="element")
    assert (float(same), float(differ)) == (1.25, 4.25)


@pytest.mark.parametrize("hinge", ["vector", "element"])
def test_it_is_the_papers_formula(hinge: str) -> None:
    whole, parts, other = (counts(5, 7, seed, 1.3) for seed in range(3))
    w, p, o = (x.numpy() for x in (whole, parts, other))
    if hinge == "vector":
        same = np.mean([((a - b) ** 2).sum() for a, b in zip(w, p, strict=True)])
        differ = np.mean([max(0, 9 - ((a - b) ** 2).sum()) for a, b in zip(o, p, strict=True)])
    else:
        same, differ = np.mean((w - p) ** 2), np.mean(np.maximum(0, 9 - (o - p) ** 2))
    found = counting_loss(whole, parts, other, 9.0, hinge)  # type: ignore[arg-type]
    assert [float(x) for x in found] == pytest.approx([same, differ], rel=1e-12)
    assert same > 0 and differ > 0


@pytest.mark.parametrize("hinge", ["vector", "element"])
def test_gradients_by_differences(hinge: str) -> None:
    inputs = [counts(4, 3, seed, 1.5).requires_grad_() for seed in range(3)]
    assert torch.autograd.gradcheck(lambda *x: sum(counting_loss(*x, 5.0, hinge)), inputs)  # type: ignore[arg-type]


def test_nothing_counted_costs_the_margin_and_a_distant_picture_nothing() -> None:
    none = torch.zeros(3, 4)
    assert [float(x) for x in counting_loss(none, none, none)] == [0, 10]
    assert [float(x) for x in counting_loss(none, none, none + 2)] == [0, 0]  # 16 away
    assert counting_loss(none.bfloat16(), none.bfloat16(), none.bfloat16())[0].dtype == torch.float32


def test_what_does_not_fit_is_refused() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"whole, parts and other need to fit, got \(2, 3\), \(2, 3\), \(1, 3\)"):
        counting_loss(x, x, x[:1])
    with pytest.raises(ValueError, match="hinge needs 'vector' or 'element', got 'norm'"):
        counting_loss(x, x, x, hinge="norm")  # type: ignore[arg-type]
