"""Pixel noise against the hash in plain integers and the standard library's normal distribution."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from viewmill.augment import laws, pixel_noise

SEEDS = [0, 1, 0x9E3779B9, 2**32 - 1, 123456789]


def word(seed: int, element: int) -> int:
    """The hash in whole numbers: two rounds of xor-shift and multiply, modulo 2**32."""
    x = (seed + element * 0x9E3779B9) % 2**32
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ x >> 16


def test_words_are_the_hash_in_plain_integers() -> None:
    assert pixel_noise.words(torch.tensor(SEEDS), 300).tolist() == [[word(s, j) for j in range(300)] for s in SEEDS]


def test_uniform_is_the_word_s_first_24_bits() -> None:
    got = pixel_noise.uniform(torch.tensor(SEEDS), 50)
    assert got.dtype == torch.float32
    assert got.tolist() == [[(word(s, j) >> 8) / 2**24 for j in range(50)] for s in SEEDS]


def test_normal_is_the_quantile_of_the_word() -> None:
    got = pixel_noise.normal(torch.tensor(SEEDS), 2000)
    assert got.dtype == torch.float32
    expected = [[NormalDist().inv_cdf((word(s, j) + 0.5) / 2**32) for j in range(2000)] for s in SEEDS]
    assert np.allclose(got.numpy(), expected, rtol=2e-7, atol=1e-8)


def test_quantile_agrees_with_the_standard_library_far_into_both_tails() -> None:
    p = np.concatenate([2.0 ** -np.arange(1, 34), 1 - 2.0 ** -np.arange(2, 34), np.linspace(0.02, 0.03, 99),
                        np.linspace(0.97, 0.98, 99), np.linspace(0.001, 0.999, 999)])
    p = np.rint(p * 2**33) / 2**33  # then 1 - p is exact
    got = pixel_noise.quantile(torch.tensor(p))
    assert np.allclose(got.numpy(), [NormalDist().inv_cdf(v) for v in p.tolist()], rtol=1.2e-9, atol=1e-12)
    assert torch.equal(pixel_noise.quantile(1 - torch.tensor(p)), -got)
    largest = pixel_noise.quantile(torch.tensor([0.5 / 2**32]).double()).item()
    assert math.isclose(largest, -6.338, abs_tol=1e-3)


def test_the_logarithm_has_the_bits_of_the_draws_own() -> None:
    x = np.concatenate([np.linspace(1e-9, 3, 1001), 2.0 ** -np.arange(40)])
    assert pixel_noise._log(torch.tensor(x)).tolist() == laws.log(x).tolist()


def test_rows_are_the_same_however_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    together = pixel_noise.normal(torch.tensor(SEEDS), 40)
    monkeypatch.setattr(pixel_noise, "_AT_ONCE", 99)  # two rows
    assert torch.equal(pixel_noise.normal(torch.tensor(SEEDS), 40), together)
    assert pixel_noise.normal(torch.empty(0, dtype=torch.int64), 40).shape == (0, 40)


def test_compiled_and_eager_give_the_same_bits() -> None:
    compiled = torch.compile(pixel_noise.normal, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(torch.tensor(SEEDS), 999), pixel_noise.normal(torch.tensor(SEEDS), 999))


def test_moments_and_neighbours_of_one_seed() -> None:
    """Mean, spread, tails, and no correlation with the next element or the same one of the next seed."""
    n = 200_000
    x = pixel_noise.normal(torch.tensor([5, 6]), n).double().numpy()
    assert abs(x[0].mean()) < 4 / n**0.5 and abs(x[0].std() - 1) < 4 / (2 * n) ** 0.5
    assert abs((np.abs(x[0]) > 2).mean() - 0.0455) < 4 * (0.0455 / n) ** 0.5
    for a, b in ((x[0, :-1], x[0, 1:]), (x[0], x[1])):
        assert abs(np.mean(a * b)) < 4 / n**0.5


@pytest.mark.parametrize(("u", "expected"), [(0.0, 0), (2.0**-32, 1), (0.5, 2**31), (1 - 2.0**-32, 2**32 - 1)])
def test_a_seed_is_all_the_bits_of_a_number(u: float, expected: int) -> None:
    got = laws.seed(np.array([u]))
    assert got.dtype == np.int64 and got.tolist() == [expected]
