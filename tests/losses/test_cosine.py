"""BYOL's distance and SimSiam's cosine: values by hand, the papers' equations in NumPy, gradients, invariances."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from viewmill.losses.cosine import negative_cosine, squared_distance

Loss = Callable[[Tensor, Tensor], Tensor]


def random(rows: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_by_hand() -> None:
    # Angles of 0, 90, 180 and 60 degrees: squared chords of 0, 2, 4 and 1, cosines of 1, 0, -1 and 1/2.
    p = torch.tensor([[2.0, 0.0], [0.0, 0.1], [3.0, 4.0], [1.0, 0.0]])
    z = torch.tensor([[0.3, 0.0], [7.0, 0.0], [-6.0, -8.0], [1.0, 3**0.5]])
    assert float(squared_distance(p, z)) == pytest.approx(7 / 4, rel=1e-6)
    assert float(negative_cosine(p, z)) == pytest.approx(-0.5 / 4, rel=1e-6)


def test_both_equal_the_papers_equations() -> None:
    p, z = random(6, 5), random(6, 5, 1)
    a, b = p.numpy(), z.numpy()
    cosine = [a[i] @ b[i] / (np.linalg.norm(a[i]) * np.linalg.norm(b[i])) for i in range(6)]
    distance = [np.sum((a[i] / np.linalg.norm(a[i]) - b[i] / np.linalg.norm(b[i])) ** 2) for i in range(6)]
    assert float(squared_distance(p, z)) == pytest.approx(np.mean(distance), rel=1e-12)
    assert float(squared_distance(p, z)) == pytest.approx(2 - 2 * np.mean(cosine), rel=1e-12)
    assert float(negative_cosine(p, z)) == pytest.approx(-np.mean(cosine), rel=1e-12)


@pytest.mark.parametrize("loss", [squared_distance, negative_cosine])
def test_gradients_of_both_sides_by_finite_differences(loss: Loss) -> None:
    p, z = random(4, 3).requires_grad_(), random(4, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(loss, (p, z))
    assert torch.autograd.gradcheck(lambda x: loss(x, z.detach()), (p,))


def test_a_predictions_gradient_turns_it_and_leaves_its_length() -> None:
    p, z = random(4, 3).requires_grad_(), random(4, 3, 1)
    squared_distance(p, z).backward()
    assert float((p.grad * p.detach()).sum(1).abs().max()) < 1e-12
    # Of one row of length 1: -2 (z - (p z) p), over four rows.
    u, v = (x.detach() / x.detach().norm(dim=1, keepdim=True) for x in (p, z))
    expected = -2 * (v - (u * v).sum(1, keepdim=True) * u) / p.detach().norm(dim=1, keepdim=True) / 4
    torch.testing.assert_close(p.grad, expected)


@pytest.mark.parametrize("loss", [squared_distance, negative_cosine])
def test_lengths_a_rotation_and_the_order_of_images_do_not_matter(loss: Loss) -> None:
    p, z = random(6, 4), random(6, 4, 1)
    turned, order = torch.linalg.qr(random(4, 4, 2))[0], torch.tensor([3, 0, 5, 1, 4, 2])
    expected = float(loss(p, z))
    lengths = random(6, 1, 3).abs() + 0.1
    assert float(loss((p @ turned * lengths)[order], (z @ turned)[order])) == pytest.approx(expected, rel=1e-9)
    assert float(loss(z, p)) == pytest.approx(expected, rel=1e-12)
    assert float(loss(p, z[order])) != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("loss", [squared_distance, negative_cosine])
def test_half_precision_is_computed_in_float32_inside_autocast_too(loss: Loss) -> None:
    p, z = random(6, 4).bfloat16(), random(6, 4, 1).bfloat16()
    expected = float(loss(p.double(), z.double()))
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(p, z)
    assert value.dtype == torch.float32 and float(value) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("loss", [squared_distance, negative_cosine])
def test_shapes_that_differ_are_refused(loss: Loss) -> None:
    for a, b in (((4, 3), (4, 2)), ((4, 3), (1, 3)), ((3,), (3,))):
        with pytest.raises(ValueError, match=r"predictions and targets need one shape \(B, D\), got "):
            loss(torch.ones(a), torch.ones(b))
