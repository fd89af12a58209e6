"""Health of features, against values by hand and the papers' formulas in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from viewmill.evaluation import health


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def gaussian(n: int, d: int, seed: int = 0, shift: float = 0.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(shift, 1.0, (n, d)).astype(np.float32))


CROSS = torch.tensor([[3.0, 0], [-1, 0], [0, 2], [0, -5]])  # normalised: the four directions of a plane


def test_std_by_hand() -> None:
    # Coordinate by coordinate 1, -1, 0, 0: variance 1/2; times sqrt(2).
    assert health.feature_std(CROSS) == pytest.approx(1.0, abs=1e-6)
    assert health.feature_std(torch.tensor([[1.0, 0], [0, 1]])) == pytest.approx(0.5 * math.sqrt(2), abs=1e-6)
    assert health.feature_std(torch.full((5, 7), 2.5)) == pytest.approx(0.0, abs=1e-6)
    assert health.feature_std(gaussian(4000, 64)) == pytest.approx(1.0, abs=0.02)


def test_std_sees_that_most_coordinates_are_still() -> None:
    # 8 of 128 coordinates fill a sphere of their own: each has 1/sqrt(8), the others nothing.
    x = torch.zeros(2000, 128)
    x[:, :8] = gaussian(2000, 8)
    assert health.feature_std(x) == pytest.approx(math.sqrt(8 / 128), rel=0.03)


def test_rankme_by_hand() -> None:
    assert health.rankme(3 * torch.eye(6)) == pytest.approx(6, rel=1e-4)
    # Singular values 3 and 1: p = 3/4 and 1/4.
    assert health.rankme(torch.tensor([[3.0, 0, 0], [0, 1, 0]])) == pytest.approx(4 / 3**0.75, rel=1e-4)
    assert health.rankme(torch.ones(50, 20)) == pytest.approx(1, abs=1e-3)
    assert health.rankme(torch.zeros(5, 4)) == pytest.approx(1, abs=1e-3)


def test_rankme_is_the_paper_s_formula() -> None:
    x = gaussian(60, 25, shift=0.4)
    p = np.linalg.svd(x.double().numpy(), compute_uv=False)
    p = p / p.sum() + 1e-7
    assert health.rankme(x) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-4)


def test_alignment_and_cosines_by_hand() -> None:
    x, y = torch.tensor([[2.0, 0], [0, 1]]), torch.tensor([[0.0, 3], [0, 4]])
    assert health.alignment(x, y) == pytest.approx(1.0)  # squared distances 2 and 0
    assert health.alignment(x, y, alpha=1) == pytest.approx(math.sqrt(2) / 2)
    assert health.mean_cosine(x, y) == pytest.approx(0.5)
    assert health.mean_cosine_of_others(x, y) == pytest.approx(0.5)  # x0 with y1: 0; x1 with y0: 1
    assert health.mean_cosine_of_others(CROSS, CROSS) == pytest.approx(-1 / 3)  # each: opposite -1, two at right angles


def test_alignment_is_two_minus_twice_the_cosine() -> None:
    x, y = gaussian(30, 9, 1), gaussian(30, 9, 2)
    assert health.alignment(x, y) == pytest.approx(2 - 2 * health.mean_cosine(x, y), abs=1e-5)


def test_uniformity_by_hand() -> None:
    # Six pairs: two opposite, distance^2 4; four at right angles, distance^2 2.
    assert health.uniformity(CROSS) == pytest.approx(math.log((2 * math.exp(-8) + 4 * math.exp(-4)) / 6), rel=1e-5)
    assert health.uniformity(CROSS, t=1) == pytest.approx(math.log((2 * math.exp(-4) + 4 * math.exp(-2)) / 6), rel=1e-5)
    assert health.uniformity(torch.ones(40, 3)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("chunk", [1, 7, 37, 1000])
def test_uniformity_in_pieces_is_the_paper_s_mean_over_pairs(chunk: int) -> None:
    x = gaussian(37, 5, shift=0.3)
    unit = x.double().numpy()
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    distance = ((unit[:, None] - unit[None]) ** 2).sum(-1)[np.triu_indices(37, 1)]
    assert health.uniformity(x, chunk=chunk) == pytest.approx(np.log(np.exp(-2 * distance).mean()), rel=1e-5)


def test_negatives_are_all_pairs_but_the_own() -> None:
    x, y = gaussian(12, 5, 3, 0.5), gaussian(12, 5, 4, 0.5)
    cosine = (x / x.norm(dim=1, keepdim=True)).double() @ (y / y.norm(dim=1, keepdim=True)).double().T
    off = cosine[~torch.eye(12, dtype=torch.bool)]
    assert health.mean_cosine_of_others(x, y) == pytest.approx(float(off.mean()), abs=1e-5)


def test_entropy_of_probabilities() -> None:
    p = torch.tensor([[0.25, 0.25, 0.25, 0.25], [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    torch.testing.assert_close(health.entropy(p), torch.tensor([math.log(4), 0.0, math.log(2)]))


def test_half_precision_is_widened_first() -> None:
    x = gaussian(64, 16, shift=3.0)
    wide = health.spread(x.bfloat16().float(), None, "embed")
    assert health.spread(x.bfloat16(), None, "embed") == wide and set(wide) == {
        "embed_std", "embed_rankme", "embed_uniformity", "embed_negative"}


def test_two_views_also_have_positives() -> None:
    x, y = gaussian(20, 6, 1), gaussian(20, 6, 2)
    values = health.spread(x, y, "health")
    assert values["health_positive"] == health.mean_cosine(x, y)
    assert values["health_negative"] == health.mean_cosine_of_others(x, y)
    assert values["health_alignment"] == health.alignment(x, y) and values["health_std"] == health.feature_std(x)


@pytest.mark.parametrize("x", [torch.ones(1, 4), torch.ones(4), torch.ones(2, 3, 4)])
def test_what_is_no_set_of_features_is_refused(x: torch.Tensor) -> None:
    for function in (health.feature_std, health.rankme, health.uniformity):
        with pytest.raises(ValueError, match=r"features \(N, D\) of at least two images"):
            function(x)
    with pytest.raises(ValueError, match=r"got \(3, 4\) and \(4, 4\)"):
        health.mean_cosine(torch.ones(3, 4), torch.ones(4, 4))
