"""Looking for a sample by name, and saying so when there is none, or more than one."""

from __future__ import annotations

import heapq
from collections.abc import Iterable


def nearest_keys(key: str, keys: Iterable[str], count: int = 3) -> list[str]:
    """The keys that share the longest beginning with key; of millions, in one pass."""
    return heapq.nsmallest(count, keys, key=lambda k: (-_shared(k, key), abs(len(k) - len(key)), k))


def _shared(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


class NoSuchKey(KeyError):
    """No sample, or not one alone, has a key. Prints as one plain line, which a KeyError does not."""

    def __str__(self) -> str:
        return str(self.args[0])


def not_found(key: str, near: list[str]) -> NoSuchKey:
    return NoSuchKey(f"no sample has the key {key!r}; near it: {', '.join(near)}")


def ambiguous(key: str, places: list[str]) -> NoSuchKey:
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return NoSuchKey(f"{len(places)} samples have the key {key!r}: write which, as in one of: {'; '.join(places[:3])}{more}")
