"""Which sample goes into which shard: pure functions of sizes, seed and options."""

from __future__ import annotations

import numpy as np

from ..permutation import permute, round_keys

WINDOW_SHARDS = 4
"""Sources that are read in blocks (row groups of Parquet) are shuffled within windows of about so many shards: each block is then
decoded for that many shards and one or two more, instead of for all."""

_FIRST = np.zeros(1, np.int64)
_STEP = 1 << 20


def shuffled(count: int, seed: int) -> np.ndarray:
    """A permutation of 0..count-1, (count,) int64: the sample at each position."""
    order = np.arange(count, dtype=np.int64)
    keys = round_keys(seed, 0, _FIRST, "pack")[0]
    for start in range(0, count, _STEP):
        order[start:start + _STEP] = permute(order[start:start + _STEP], count, keys)
    return order


def shuffled_in_blocks(block_samples: np.ndarray, sizes: np.ndarray, window_bytes: int, seed: int) -> np.ndarray:
    """A permutation of the samples of blocks that lie one after another, block_samples (B,): blocks are permuted, and samples
    within windows of blocks that together have window_bytes or more. sizes (n,): of the samples, bytes."""
    block_samples = np.asarray(block_samples, np.int64)
    ends = np.cumsum(block_samples)
    starts = ends - block_samples
    sums = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    blocks = shuffled(len(block_samples), seed)
    order: list[np.ndarray] = [np.zeros(0, np.int64)]
    window: list[int] = []
    held = 0

    def close() -> None:
        inside = np.concatenate([np.arange(starts[b], ends[b], dtype=np.int64) for b in window])
        keys = round_keys(seed, 0, np.array([len(order)]), "pack window")[0]
        order.append(inside[permute(np.arange(len(inside), dtype=np.int64), len(inside), keys)])

    for block in blocks.tolist():
        window.append(block)
        held += int(sums[ends[block]] - sums[starts[block]])
        if held >= window_bytes:
            close()
            window, held = [], 0
    if window:
        close()
    return np.concatenate(order)


def cut(sizes: np.ndarray, shard_bytes: int, shard_samples: int = 0) -> np.ndarray:
    """Where shards end, (S,) int64: each takes samples in order while they fit, one at least. sizes (n,) bytes > 0;
    shard_samples: at most, 0 for any number."""
    sums = np.cumsum(sizes, dtype=np.int64)
    ends, start = [], 0
    while start < len(sums):
        before = int(sums[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(sums, before + shard_bytes, side="right")))
        if shard_samples:
            end = min(end, start + shard_samples)
        ends.append(end)
        start = end
    return np.array(ends, np.int64)


def taken_before(hashes: np.ndarray) -> np.ndarray:
    """(n,) uint32: how many earlier samples have the same hash."""
    order = np.argsort(hashes, kind="stable")
    same = np.zeros(len(hashes), bool)
    same[1:] = hashes[order[1:]] == hashes[order[:-1]]
    position = np.arange(len(hashes), dtype=np.int64)
    first = np.maximum.accumulate(np.where(same, 0, position))
    count = np.empty(len(hashes), np.uint32)
    count[order] = position - first
    return count
