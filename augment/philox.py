"""Philox 4x32-10: random numbers that are a pure function of where they are used.

Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (SC 2011). Checked against that paper's known answers.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2s

import numpy as np

_EVEN, _ODD = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_ROUNDS = 10
_SPREADING = 4
"""Rounds after which each word of a counter has met all others: until then, what many counters have in common is worked once."""
_AT_ONCE = 2**14
"""Counters for which the arrays of a round stay in the second cache."""


def philox4x32(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Random words. counter (..., 4) uint32, key: two numbers of 32 bits -> (..., 4) uint32."""
    c0, c1, c2, c3 = (np.asarray(counter[..., i], np.uint64) for i in range(4))
    return np.stack(_mixed(c0, c1, c2, c3, key), -1).astype(np.uint32)


def _mixed(c0: np.ndarray, c1: np.ndarray, c2: np.ndarray, c3: np.ndarray, key: tuple[int, int]) -> list[np.ndarray]:
    """The four words of random counters from those of the counters: uint64, of shapes that broadcast."""
    keys = [[np.uint64((k + n * weyl) & 0xFFFFFFFF) for k, weyl in zip(key, _WEYL, strict=True)] for n in range(_ROUNDS)]
    for k0, k1 in keys[:_SPREADING]:
        even, odd = c0 * _EVEN, c2 * _ODD
        c0, c1, c2, c3 = (odd >> _HALF) ^ (c1 ^ k0), odd & _LOW, (even >> _HALF) ^ (c3 ^ k1), even & _LOW
    c0, c1, c2, c3 = (np.array(c) for c in np.broadcast_arrays(c0, c1, c2, c3))
    even, odd = np.empty_like(c0), np.empty_like(c0)
    for k0, k1 in keys[_SPREADING:]:  # the same in place
        np.multiply(c0, _EVEN, even)
        np.multiply(c2, _ODD, odd)
        np.bitwise_xor(np.right_shift(odd, _HALF, c0), np.bitwise_xor(c1, k0, c1), c0)
        np.bitwise_xor(np.right_shift(even, _HALF, c2), np.bitwise_xor(c3, k1, c3), c2)
        np.bitwise_and(odd, _LOW, c1)
        np.bitwise_and(even, _LOW, c3)
    return [c0, c1, c2, c3]


@lru_cache(maxsize=65536)
def stream_word(stream: str, call: int) -> int:
    """The counter's word for one Philox call of a named stream. By name, so that no op moves another's draws."""
    return int.from_bytes(blake2s(f"{stream}#{call}".encode(), digest_size=4).digest(), "little")


def uniforms(seed: int, epoch: int, index: np.ndarray, stream: str, count: int, call: int = 0) -> np.ndarray:
    """(N, count) float64 in [0, 1), multiples of 2**-32: equal arguments give equal numbers on every machine.

    index (N,) int64: samples of one epoch; call: the stream's first Philox call to use, four numbers each; a law that draws
    again takes the next.
    """
    of_calls = np.array([[stream_word(stream, call + i)] for i in range(-(-count // 4))], np.uint32)
    return fractions(seed, epoch, index, of_calls, count).T


def words(seed: int, epoch: int, index: np.ndarray, stream: str, count: int, call: int = 0) -> np.ndarray:
    """(N, count) uint32: the same numbers in steps of 2**-32."""
    return (uniforms(seed, epoch, index, stream, count, call) * 2.0**32).astype(np.uint32)


def fractions(seed: int, epoch: int, index: np.ndarray, stream: np.ndarray, count: int) -> np.ndarray:
    """(count, ...) float64 in [0, 1), multiples of 2**-32, for index (...) int64 and words of streams (calls, ...) uint32, which
    broadcast; four numbers a call.

    Key: the 64-bit seed. Counter: index low, index high, epoch, word of the stream.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed needs 0 <= seed < 2**64, got {seed}")
    if not 0 <= epoch < 2**32:
        raise ValueError(f"epoch needs 0 <= epoch < 2**32, got {epoch}")
    key, index, stream = (seed & 0xFFFFFFFF, seed >> 32), np.asarray(index, np.int64).astype(np.uint64), stream.astype(np.uint64)
    low, high, epoch_word = index & _LOW, index >> _HALF, np.array(epoch, np.uint64)
    shape = np.broadcast_shapes(index.shape, stream.shape[1:])
    out = np.empty((len(stream), 4, *shape))
    lot = max(_AT_ONCE // max(out[:1, 0].size, 1), 1)
    for first in range(0, len(stream), lot):
        calls = slice(first, first + lot)
        for number, word in enumerate(_mixed(low, high, epoch_word, stream[calls], key)):
            np.multiply(word.view(np.int64), 2.0**-32, out[calls, number])
    return out.reshape(4 * len(stream), *shape)[:count]
