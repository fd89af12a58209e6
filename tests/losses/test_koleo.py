"""KoLeo: the distance to the nearest neighbour on a sphere, by loops in float64, and what it does to points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from viewmill.losses.koleo import koleo


def by_loops(x: np.ndarray) -> float:
    """-mean log of the least of all distances from each unit vector to the others."""
    unit = [row / math.sqrt((row**2).sum()) for row in x]
    terms = []
    for i, row in enumerate(unit):
        terms.append(-math.log(min(math.dist(row, other) for j, other in enumerate(unit) if j != i)))
    return sum(terms) / len(terms)


def points(count: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim))


@pytest.mark.parametrize(("count", "dim"), [(2, 3), (7, 2), (12, 5)])
def test_it_is_the_mean_of_minus_the_logarithm_of_the_least_distance(count: int, dim: int) -> None:
    x = points(count, dim)
    assert float(koleo(torch.from_numpy(x))) == pytest.approx(by_loops(x), rel=1e-6)
    assert float(koleo(torch.from_numpy(x).float())) == pytest.approx(by_loops(x), rel=1e-4)
    lengths = points(count, 1, 1) ** 2  # which do not count
    assert float(koleo(torch.from_numpy(x * lengths))) == pytest.approx(by_loops(x), rel=1e-6)


def test_by_hand() -> None:
    # On a circle at 0, 60 and 180 degrees: chords of 2 sin(30) = 1, 1 and, from 60 to 180, 2 sin(60).
    angle = torch.tensor([0.0, math.pi / 3, math.pi], dtype=torch.float64)
    x = torch.stack([angle.cos(), angle.sin()], 1)
    assert float(koleo(x)) == pytest.approx(-math.log(math.sqrt(3)) / 3, abs=1e-7)


def test_the_gradient_is_that_of_finite_differences() -> None:
    x = torch.from_numpy(points(6, 4)).requires_grad_()
    koleo(x).backward()
    gradient, step = x.grad, 1e-6
    assert gradient is not None
    for place in np.ndindex(6, 4):
        moved = torch.zeros_like(x)
        moved[place] = step
        slope = (koleo(x.detach() + moved) - koleo(x.detach() - moved)) / (2 * step)
        assert float(gradient[place]) == pytest.approx(float(slope), abs=1e-6)


def test_both_ends_of_a_distance_are_pushed() -> None:
    # The third's nearest is the second, which has the first: of the second's gradient both are parts.
    angle = torch.tensor([0.0, 0.2, 0.7], dtype=torch.float64)
    x = torch.stack([angle.cos(), angle.sin()], 1).requires_grad_()
    koleo(x).backward()
    assert x.grad is not None
    along = torch.stack([-angle.sin(), angle.cos()], 1)
    slopes = (x.grad * along).sum(1)
    half = lambda a: 1 / math.tan(a / 2) / 2  # noqa: E731  (d log of a chord 2 sin(a / 2) / da)
    expected = [2 * half(0.2) / 3, (-2 * half(0.2) + half(0.5)) / 3, -half(0.5) / 3]
    assert slopes.tolist() == pytest.approx(expected, rel=1e-6)


def test_descending_spreads_points_evenly() -> None:
    angle = torch.tensor([0.0, 0.1, 0.3, 0.35, 0.5], dtype=torch.float64).requires_grad_()
    optimizer = torch.optim.SGD([angle], 0.1)
    for step in range(600):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 600)
        optimizer.zero_grad()
        koleo(torch.stack([angle.cos(), angle.sin()], 1)).backward()
        optimizer.step()
    gaps = angle.detach().sort().values.diff(append=angle.detach().min()[None] + 2 * math.pi)
    assert float(gaps.min()) > 1.1  # of five alike each would be 1.26


def test_rows_that_are_alike_cost_much_and_have_no_gradient_that_is_no_number() -> None:
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).requires_grad_()
    loss = koleo(x)
    loss.backward()
    assert float(loss.detach()) == pytest.approx((2 * -math.log(1e-8) - math.log(math.sqrt(2))) / 3, rel=1e-4)
    assert x.grad is not None and bool(x.grad.isfinite().all()) and float(x.grad[0].abs().max()) < 1


def test_neighbours_may_be_among_more_rows_than_its_own() -> None:
    x = torch.from_numpy(points(9, 3))
    parts = [koleo(x[:2], x, 0), koleo(x[2:7], x, 2), koleo(x[7:], x, 7)]
    whole = sum(float(part) * rows for part, rows in zip(parts, (2, 5, 2), strict=True)) / 9
    assert whole == pytest.approx(by_loops(x.numpy()), rel=1e-6)
    assert float(koleo(x[2:3], x, 2)) == pytest.approx(-math.log(min(
        math.dist(x[2] / x[2].norm(), x[i] / x[i].norm()) for i in range(9) if i != 2)), rel=1e-6)


def test_half_precision_is_computed_in_float32() -> None:
    x = torch.from_numpy(points(8, 16)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = koleo(x)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(by_loops(x.double().numpy()), rel=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="koleo needs at least 2 rows, of which each has a neighbour, got 1"):
        koleo(torch.zeros(1, 3))
    for x, among, begins in ((torch.zeros(2, 3), torch.zeros(4, 2), 0), (torch.zeros(3, 3), torch.zeros(4, 3), 2),
                             (torch.zeros(2, 3, 1), None, 0), (torch.zeros(2, 3), torch.zeros(4, 3), -1)):
        with pytest.raises(ValueError, match=r"koleo needs x \(N, D\) that is N rows of among"):
            koleo(x, among, begins)
