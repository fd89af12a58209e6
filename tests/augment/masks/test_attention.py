"""MILAN's mask: visible positions drawn by weights, one after the other, none twice."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from viewmill.augment.chance import Chance
from viewmill.augment.masks import Attention
from viewmill.augment.masks.attention import visible_by_attention

from .draws import params_of

N = 4000


def gumbel(positions: tuple[int, int], n: int = N) -> torch.Tensor:
    return torch.from_numpy(params_of(Attention(grid=positions, visible=1), n)["gumbel"])


def test_the_noise_has_gumbels_law() -> None:
    """Distribution function exp(-exp(-x)): mean 0.5772 (Euler's), variance pi^2 / 6, e^-1 of it below 0."""
    noise = gumbel((14, 14), 1000).double().numpy()
    assert noise.shape == (1000, 196)
    assert abs(noise.mean() - 0.57722) < 4 * 1.2826 / 196000**0.5 and abs(noise.var() - np.pi**2 / 6) < 0.03
    for x in (-1.0, 0.0, 2.0):
        p = np.exp(-np.exp(-x))
        assert abs((noise < x).mean() - p) < 4 * (p * (1 - p) / 196000) ** 0.5


def test_the_least_and_the_greatest_number_give_finite_noise() -> None:
    """The numbers are the middles of 2**32 steps: -ln(33 ln 2) and, -ln(1 - x) being x, 33 ln 2."""
    class Ends(Chance):
        def uniforms(self, count: int, *, scope: str = "sample", part: str = "", call: int = 0) -> np.ndarray:
            return np.array([[0.0, 1 - 2.0**-32]])

    params, _ = Attention(grid=(1, 2), visible=1).draw(Ends(0, 0, np.arange(1)), np.full((1, 2), 8))
    assert params["gumbel"].dtype == np.float32
    assert params["gumbel"][0].tolist() == pytest.approx([-np.log(33 * np.log(2)), 33 * np.log(2)], rel=1e-6)


def test_of_two_tokens_the_first_stays_in_proportion_to_its_weight() -> None:
    for first, second in ((0.3, 0.7), (2.0, 0.5), (1e-3, 3e-3)):
        mask = visible_by_attention(torch.tensor([[first, second]]).expand(N, 2), gumbel((1, 2)), 1)
        assert (mask.sum(1) == 1).all()
        p = first / (first + second)
        assert abs((~mask[:, 0]).double().mean() - p) < 4 * (p * (1 - p) / N) ** 0.5


def test_three_tokens_come_in_plackett_luce_order() -> None:
    """P(a, b, c) = w_a w_b / (w_b + w_c), weights 0.5, 0.3, 0.2: as the visible sets of one and of two positions say."""
    weights, noise = torch.tensor([[0.5, 0.3, 0.2]]).expand(N, 3), gumbel((1, 3))
    one, two = (~visible_by_attention(weights, noise, k) for k in (1, 2))
    assert (one <= two).all()
    w = (0.5, 0.3, 0.2)
    for a, b, c in permutations(range(3)):
        p = w[a] * w[b] / (w[b] + w[c])
        found = (one[:, a] & two[:, b]).double().mean()
        assert abs(found - p) < 4 * (p * (1 - p) / N) ** 0.5, (a, b, c)


def test_positions_without_weight_stay_only_where_the_others_do_not_suffice() -> None:
    weights = torch.tensor([[0.0, 1e-38, 0.0, 1.0, 0.0]]).expand(1000, 5)
    noise = gumbel((1, 5), 1000)
    assert visible_by_attention(weights, noise, 2).tolist() == [[True, False, True, False, True]] * 1000
    third = ~visible_by_attention(weights, noise, 3)
    assert third[:, [1, 3]].all() and (third.sum(1) == 3).all()
    assert (third[:, [0, 2, 4]].double().mean(0) - 1 / 3).abs().max() < 4 * (2 / 9 / 1000) ** 0.5
    assert (~visible_by_attention(torch.zeros(4, 5), noise[:4], 2)).sum(1).tolist() == [2] * 4


def test_half_precision_weights_and_all_visible() -> None:
    """A logarithm in half precision would change some of the 400 draws."""
    noise = gumbel((14, 14), 400)
    weights = torch.rand(400, 196, generator=torch.Generator().manual_seed(0)).half()
    mask = visible_by_attention(weights, noise, 49)
    assert (~mask).sum(1).tolist() == [49] * 400 and torch.equal(mask, visible_by_attention(weights.double(), noise, 49))
    assert not visible_by_attention(weights, noise, 196).any()


def test_more_visible_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="at most the 4 positions there are, got 5"):
        Attention(grid=(2, 2), visible=5)
