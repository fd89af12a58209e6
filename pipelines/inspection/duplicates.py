"""Samples that are there twice: equal bytes, or equal keys, found by their hashes alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .findings import Hashes


def equal_images(pieces: Sequence[Hashes]) -> np.ndarray:
    """(n, 2) int64: numbers of samples, counted through all pieces, each with the first one that has the same bytes. Takes about
    40 bytes a sample."""
    hashes = np.concatenate([each.images for each in pieces]) if pieces else np.empty((0, 2), np.uint64)
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))  # equal ones keep their order
    ordered = hashes[order]
    return _pairs(order, (ordered[1:] == ordered[:-1]).all(axis=1))


def equal_keys(pieces: Sequence[Hashes]) -> np.ndarray:
    """The same for keys, of which those that are used twice in one piece are left out: it has told them."""
    keys = np.concatenate([each.keys for each in pieces]) if pieces else np.empty(0, np.uint64)
    owner = np.repeat(np.arange(len(pieces)), [len(each.keys) for each in pieces])
    order = np.argsort(keys, kind="stable")
    pairs = _pairs(order, keys[order][1:] == keys[order][:-1])
    return pairs[owner[pairs[:, 0]] != owner[pairs[:, 1]]]


def _pairs(order: np.ndarray, same: np.ndarray) -> np.ndarray:
    """order (n,): of samples; same (n - 1,): whether one equals the one before it there."""
    later = np.flatnonzero(same) + 1
    first = np.maximum.accumulate(np.where(np.r_[True, ~same], np.arange(len(order)), 0)) if len(order) else order
    pairs = np.stack([order[later], order[first[later]]], axis=1).astype(np.int64)
    return pairs[np.argsort(pairs[:, 0], kind="stable")]
