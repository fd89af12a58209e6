"""Permutations of 0..n-1 that are computed, not stored: any position of an epoch costs the same, and no memory.

A generalised Feistel network (Black and Rogaway, Ciphers with arbitrary finite domains, CT-RSA 2002) on the smallest
near-square that holds n, and cycle walking from there into 0..n-1. The square is larger than n by less than sqrt(n), so
few values walk. The round function is an integer mixer under keys from Philox.
"""

from __future__ import annotations

import numpy as np

from ..augment.philox import words

ROUNDS = 16
"""Large n look right after four. Windows of a few samples need more: over 144,000 keys of n = 6, the 720 permutations are
equally frequent (chi-square) with 16 rounds, and visibly not with 12."""

LIMIT = 1 << 40

_SHIFT = np.uint64(32)


def round_keys(seed: int, epoch: int, number: np.ndarray, name: str) -> np.ndarray:
    """(N, ROUNDS) uint32: the keys of N permutations, told apart by number (N,) int64 within (seed, epoch, name)."""
    return words(seed, epoch, number, f"order/{name}", ROUNDS)


def permute(value: np.ndarray, length: np.ndarray | int, keys: np.ndarray) -> np.ndarray:
    """Where each value goes. value (N,) int64 in 0..length-1, length scalar or (N,), keys (ROUNDS,) or (N, ROUNDS) ->
    (N,) int64 in 0..length-1. For equal length and keys it is a bijection. Raises ValueError where length > 2**40."""
    length = np.asarray(length, np.int64)
    if length.size and length.max() > LIMIT:
        raise ValueError(f"a permutation needs length <= 2**40, got {length.max()}")
    left_size = np.ceil(np.sqrt(length.astype(np.float64))).astype(np.int64)  # exact enough: n <= 2**40
    left_size = np.maximum(left_size, 1)
    right_size = -(-length // left_size)
    result = _network(np.asarray(value, np.int64), left_size, right_size, keys)
    outside = np.flatnonzero(result >= length)
    while len(outside):
        here = [each[outside] if each.ndim else each for each in (left_size, right_size, length)]
        walked = _network(result[outside], here[0], here[1], keys[outside] if keys.ndim == 2 else keys)
        result[outside] = walked
        outside = outside[walked >= here[2]]
    return result


def _network(value: np.ndarray, left_size: np.ndarray, right_size: np.ndarray, keys: np.ndarray) -> np.ndarray:
    left, right = np.divmod(value, right_size)
    for turn in range(ROUNDS):
        key = keys[..., turn]
        if turn % 2 == 0:
            left = _add(left, right, left_size, key)
        else:
            right = _add(right, left, right_size, key)
    return left * right_size + right


def _add(half: np.ndarray, other: np.ndarray, size: np.ndarray, key: np.ndarray) -> np.ndarray:
    """half + f(other) modulo size, without a division: both are below size, so one subtraction is enough."""
    noise = (_mix(other.astype(np.uint32) ^ key).astype(np.uint64) * size.astype(np.uint64)) >> _SHIFT
    total = half + noise.astype(np.int64)
    return np.where(total >= size, total - size, total)


def _mix(x: np.ndarray) -> np.ndarray:
    """A bijection of 32-bit words in which every bit depends on every bit. Source: C. Wellons, Hash prospector ("lowbias32")."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))
