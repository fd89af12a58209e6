"""Sets of permutations whose members lie far apart. Sources: Jigsaw, arXiv:1603.09246, algorithm 1; Jigsaw++, arXiv:1805.00385.

Whole numbers throughout and ties by one seeded order, so that every machine builds the same set.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations

import numpy as np

from ..philox import uniforms

RULES = ("mean", "max_min", "first")
ALL_UP_TO = 9
"""Slots up to which every permutation is a candidate (9! = 362 880); beyond, POOL random ones are."""
POOL = 2**18


@lru_cache(maxsize=16)
def permutation_set(slots: int, size: int, rule: str = "mean", least_distance: int | None = None, seed: int = 0) -> np.ndarray:
    """(size, slots) int8, read-only: distinct permutations of 0 .. slots - 1, chosen one by one, the first at random.

    Distances count the slots in which two permutations differ. rule "mean": next comes the candidate farthest from the
    chosen on average; "max_min": the one whose nearest chosen one is farthest, then by average; "first": the next in random
    order. least_distance: candidates nearer than that to a chosen one are out.
    Raises ValueError where no candidate is left, naming how many there are.
    """
    if rule not in RULES:
        raise ValueError(f"a permutation set's rule is one of {', '.join(RULES)}, got {rule!r}")
    if slots < 1 or size < 1:
        raise ValueError(f"a permutation set needs slots and a size >= 1, got {slots} and {size}")
    columns = _candidates(slots, seed)
    out = np.zeros(columns.shape[1], bool)
    agreements = np.zeros(columns.shape[1], np.int32)  # with all chosen; the table c[slot, tile] of counts, summed as it grows
    nearest = np.zeros(columns.shape[1], np.int8)  # the agreements with the nearest chosen one
    chosen: list[int] = []
    at = 0
    while True:
        chosen.append(at)
        if len(chosen) == size:
            break
        equal = np.zeros(columns.shape[1], np.int8)
        for column, value in zip(columns, columns[:, at], strict=True):
            equal += (column == value).view(np.int8)
        out |= equal > slots - max(least_distance or 1, 1)  # the chosen one itself agrees in all slots
        if rule == "first":
            at = int(np.argmin(out))
        else:
            agreements += equal
            np.maximum(nearest, equal, out=nearest)
            score = agreements if rule == "mean" else agreements + nearest.astype(np.int32) * (slots * size)
            at = int(np.argmin(np.where(out, np.iinfo(np.int32).max, score)))
        if out[at]:
            raise ValueError(f"no {size} permutations of {slots} slots at least {least_distance or 1} apart by rule {rule!r}: "
                             f"{len(chosen)} were found; ask for fewer, or for a smaller distance")
    found = np.ascontiguousarray(columns[:, chosen].T)
    found.flags.writeable = False
    return found


def hamming(permutations: np.ndarray) -> tuple[int, float]:
    """The least and the mean distance between two different rows of (size >= 2, slots)."""
    size, slots = permutations.shape
    least = slots
    total = 0
    for row in range(size - 1):
        distance = (permutations[row + 1:] != permutations[row]).sum(1)
        least = min(least, int(distance.min()))
        total += int(distance.sum())
    return least, total / (size * (size - 1) // 2)


@lru_cache(maxsize=2)
def _candidates(slots: int, seed: int) -> np.ndarray:
    """(slots, candidates) int8 in random order, slot by slot in memory."""
    if slots <= ALL_UP_TO:
        every = np.array(list(permutations(range(slots))), np.int8)
        keys = uniforms(seed, 0, np.arange(len(every)), "permutations/order", 1)[:, 0]
        return np.ascontiguousarray(every[np.argsort(keys, kind="stable")].T)
    keys = uniforms(seed, 0, np.arange(POOL), f"permutations/{slots}", slots)
    pool = np.argsort(keys, axis=1, kind="stable").astype(np.int8)
    _, first = np.unique(pool, axis=0, return_index=True)
    return np.ascontiguousarray(pool[np.sort(first)].T)
