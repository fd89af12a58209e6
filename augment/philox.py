"""Philox 4x32-10: random numbers that are a pure function of where they are used.

Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (SC 2011). Checked against that paper's known answers.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2s

import numpy as np

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox4x32(counter: np.ndarray, key: np.ndarray, rounds: int = 10) -> np.ndarray:
    """Random words. counter (..., 4) uint32, key (2,) or (..., 2) uint32 -> (..., 4) uint32."""
    c0, c1, c2, c3 = (np.asarray(counter[..., i], np.uint64) for i in range(4))
    k0, k1 = np.asarray(key[..., 0], np.uint64), np.asarray(key[..., 1], np.uint64)
    for _ in range(rounds):
        even, odd = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (odd >> _HALF) ^ c1 ^ k0, odd & _LOW, (even >> _HALF) ^ c3 ^ k1, even & _LOW
        k0, k1 = (k0 + np.uint64(_WEYL[0])) & _LOW, (k1 + np.uint64(_WEYL[1])) & _LOW
    return np.stack(np.broadcast_arrays(c0, c1, c2, c3), -1).astype(np.uint32)


@lru_cache(maxsize=65536)
def stream_words(stream: str, call: int, calls: int) -> np.ndarray:
    """(calls,) uint32: the counter words of the Philox calls from `call` on of a named stream. By name, so that no op
    moves another's draws."""
    return np.array([int.from_bytes(blake2s(f"{stream}#{i}".encode(), digest_size=4).digest(), "little")
                     for i in range(call, call + calls)], np.uint32)


def words(seed: int, epoch: int, index: np.ndarray, stream: str, count: int, call: int = 0) -> np.ndarray:
    """(N, count) uint32 for samples index (N,) int64 of one epoch; equal arguments give equal words on every machine.

    Key: the 64-bit seed. Counter: index low, index high, epoch, hash of the stream's name with the call's number.
    call: the first call to use, four words each; a law that draws again takes the next.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed needs 0 <= seed < 2**64, got {seed}")
    if not 0 <= epoch < 2**32:
        raise ValueError(f"epoch needs 0 <= epoch < 2**32, got {epoch}")
    calls = -(-count // 4)
    index = np.asarray(index, np.int64).astype(np.uint64)
    counter = np.empty((len(index), calls, 4), np.uint32)
    counter[:, :, 0] = (index & _LOW)[:, None]
    counter[:, :, 1] = (index >> _HALF)[:, None]
    counter[:, :, 2] = epoch
    counter[:, :, 3] = stream_words(stream, call, calls)
    key = np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint32)
    return philox4x32(counter, key).reshape(len(index), calls * 4)[:, :count]


def uniforms(seed: int, epoch: int, index: np.ndarray, stream: str, count: int, call: int = 0) -> np.ndarray:
    """(N, count) float64 in [0, 1), multiples of 2**-32."""
    return words(seed, epoch, index, stream, count, call) * 2.0**-32
