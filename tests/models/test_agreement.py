"""Alignment and spread: values by hand, the same in NumPy, what they do not depend on, and that ranks are one batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from viewmill.models.agreement import agreement

from ..world import World


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def told(a: Tensor, b: Tensor) -> tuple[float, float]:
    values = agreement(a, b)
    assert list(values) == ["cosine", "spread"]
    return float(values["cosine"]), float(values["spread"])


def test_by_hand() -> None:
    # Cosines 1, 0 and -1. Of a's directions, (1, 0), (0, 1) and (1, 0), the first coordinate has variance 2/9, the second 2/9.
    a = torch.tensor([[2.0, 0.0], [0.0, 3.0], [0.5, 0.0]])
    b = torch.tensor([[9.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert told(a, b) == pytest.approx((0, math.sqrt(4 / 9)), abs=1e-6)


def test_they_are_the_mean_cosine_and_the_deviation_of_what_has_length_one() -> None:
    a, b = random(7, 5), random(7, 5, seed=1)
    u, v = (x.numpy() / np.linalg.norm(x.numpy(), axis=1, keepdims=True) for x in (a, b))
    assert told(a, b) == pytest.approx((np.mean(np.sum(u * v, 1)), math.sqrt(5 * np.mean(u.var(0)))), rel=1e-12)


def test_of_several_views_it_is_the_mean_over_them() -> None:
    a, b = random(2, 6, 5), random(2, 6, 5, seed=1)
    each = [told(a[i], b[i]) for i in range(2)]
    assert told(a, b) == pytest.approx(np.mean(each, 0), rel=1e-12)
    # Views that lie apart, each of them collapsed, have collapsed.
    assert told(torch.stack([torch.ones(6, 5), -torch.ones(6, 5)]), b)[1] == pytest.approx(0, abs=1e-3)


def test_lengths_and_a_rotation_of_both_do_not_matter_and_the_other_side_only_for_the_cosine() -> None:
    a, b = random(9, 4), random(9, 4, seed=1)
    turned = torch.linalg.qr(random(4, 4, seed=2))[0]
    lengths = random(9, 1, seed=3).abs() + 0.1
    assert told(a @ turned * lengths, b @ turned) == pytest.approx(told(a, b), rel=1e-9)
    assert told(a, random(9, 4, seed=5))[1] == pytest.approx(told(a, b)[1], rel=1e-12)


def test_what_fills_the_sphere_has_a_spread_of_one_and_what_has_collapsed_none() -> None:
    assert told(random(4096, 32), random(4096, 32))[1] == pytest.approx(1, abs=0.01)
    one = torch.tensor([[3.0, -1.0, 0.5]])
    assert told(one.repeat(8, 1), one.repeat(8, 1)) == pytest.approx((1, 0), abs=1e-3)
    assert told(torch.zeros(8, 3), one.repeat(8, 1)) == (0, 0)  # as batch norm without a shift leaves what has collapsed
    assert told(one, one) == pytest.approx((1, 0), abs=1e-3)


def test_half_precision_is_computed_in_float32_without_a_gradient() -> None:
    a, b = random(6, 4).bfloat16(), random(6, 4, seed=1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        values = agreement(a.requires_grad_(), b)
    assert all(value.dtype == torch.float32 and value.shape == () and not value.requires_grad for value in values.values())
    assert (float(values["cosine"]), float(values["spread"])) == pytest.approx(told(a.detach().double(), b.double()), abs=1e-6)


def of_a_part(parts: tuple[int, ...]) -> tuple[float, float]:
    own = slice(sum(parts[: dist.get_rank()]), sum(parts[: dist.get_rank() + 1]))
    return told(random(2, sum(parts), 5)[:, own], random(2, sum(parts), 5, seed=1)[:, own])


@pytest.mark.parametrize("parts", [(4, 7), (2, 5, 1)])
def test_every_rank_tells_of_all_ranks_rows(world: World, parts: tuple[int, ...]) -> None:
    expected = told(random(2, sum(parts), 5), random(2, sum(parts), 5, seed=1))
    for of_rank in world(len(parts), of_a_part, parts):
        assert of_rank == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("a", "b"), [((4, 3), (5, 3)), ((4, 3), (4, 2)), ((4,), (4,)), ((1, 2, 4, 3), (1, 2, 4, 3))])
def test_shapes_that_do_not_fit_are_refused(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"one shape, \(N, D\) or \(V, N, D\), got \("):
        agreement(torch.ones(a), torch.ones(b))
