"""Permutations without memory: bijections for every length, equal to the scalar definition, all equally frequent."""

from __future__ import annotations

from math import ceil, factorial, isqrt

import numpy as np
import pytest
from viewmill.augment.philox import words
from viewmill.pipelines.permutation import permute, round_keys

LENGTHS = [*range(1, 131), 255, 256, 257, 1000, 4095, 4097, 65537]


def keys_of(seed: int, epoch: int = 0, number: int = 0, name: str = "full") -> np.ndarray:
    return round_keys(seed, epoch, np.array([number]), name)[0]


@pytest.mark.parametrize("length", LENGTHS)
def test_every_value_is_hit_once(length: int) -> None:
    result = permute(np.arange(length), length, keys_of(3))
    assert result.dtype == np.int64 and np.array_equal(np.sort(result), np.arange(length))


def by_scalars(value: int, length: int, keys: list[int]) -> int:
    """The definition in plain integers: sixteen rounds on a near-square, walked until the value is inside."""
    columns = isqrt(length - 1) + 1
    rows = ceil(length / columns)
    while True:
        left, right = divmod(value, rows)
        for turn, key in enumerate(keys):
            x = (right if turn % 2 == 0 else left) ^ key
            x = (x ^ x >> 16) * 0x7FEB352D % 2**32
            x = (x ^ x >> 15) * 0x846CA68B % 2**32
            x ^= x >> 16
            if turn % 2 == 0:
                left = (left + (x * columns >> 32)) % columns
            else:
                right = (right + (x * rows >> 32)) % rows
        value = left * rows + right
        if value < length:
            return value


@pytest.mark.parametrize("length", [1, 2, 3, 7, 12, 100, 1_281_167, 2**32 + 5, 2**40])
def test_equals_the_definition_in_plain_integers(length: int) -> None:
    keys = keys_of(2**63 + 5, epoch=9)
    assert keys.tolist() == words(2**63 + 5, 9, np.array([0]), "order/full", 16)[0].tolist()
    values = np.unique(np.linspace(0, length - 1, 40).astype(np.int64))
    assert permute(values, length, keys).tolist() == [by_scalars(v, length, keys.tolist()) for v in values.tolist()]


def test_a_length_and_keys_of_its_own_for_each_value() -> None:
    lengths, values = np.array([5, 40, 7, 1, 3]), np.array([4, 39, 0, 0, 1])
    keys = round_keys(1, 0, np.arange(5), "window")
    together = permute(values, lengths, keys)
    assert together.tolist() == [int(permute(values[i:i + 1], int(lengths[i]), keys[i])[0]) for i in range(5)]


@pytest.mark.parametrize("length", [2, 3, 4, 5])
def test_all_permutations_are_equally_frequent(length: int) -> None:
    """Chi-square over all length! of them, 100 keys for each expected; bound: mean + 4 standard deviations."""
    times = 100 * factorial(length)
    keys = round_keys(11, 0, np.arange(times), "window")
    results = np.stack([permute(np.full(times, v), np.full(times, length), keys) for v in range(length)], 1)
    frequency = np.bincount(results @ length ** np.arange(length))
    frequency = frequency[frequency > 0]
    assert len(frequency) == factorial(length)
    freedom = factorial(length) - 1
    assert ((frequency - 100.0) ** 2 / 100).sum() < freedom + 4 * np.sqrt(2 * freedom)


def test_neighbours_do_not_stay_neighbours() -> None:
    """In a random order of n = 10,000, a pair of neighbours is followed by its successor with chance 1/n: one expected."""
    result = permute(np.arange(10_000), 10_000, keys_of(0))
    assert (np.diff(result) == 1).sum() <= 6
    assert abs(np.corrcoef(np.arange(10_000), result)[0, 1]) < 0.04  # four standard errors


def test_seed_epoch_name_and_number_each_give_another_permutation() -> None:
    orders = [permute(np.arange(1000), 1000, k).tolist()
              for k in (keys_of(0), keys_of(1), keys_of(2**32), keys_of(0, epoch=1), keys_of(0, number=1),
                        keys_of(0, name="shards"))]
    for i, a in enumerate(orders):
        for b in orders[:i]:
            assert sum(x == y for x, y in zip(a, b, strict=True)) <= 8  # one expected


def test_more_than_two_to_the_forty_is_refused() -> None:
    with pytest.raises(ValueError, match=r"length <= 2\*\*40, got 1099511627777"):
        permute(np.zeros(1, np.int64), 2**40 + 1, keys_of(0))
