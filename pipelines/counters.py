"""Named sums, added to by many threads."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import Any


class Counters:
    """Pickles as nothing: a copy in another process counts for itself."""

    def __init__(self) -> None:
        self._lock, self._sums = Lock(), Counter[str]()

    def add(self, name: str, n: float = 1) -> None:
        with self._lock:
            self._sums[name] += n  # type: ignore[assignment]

    def snapshot(self) -> dict[str, float]:
        with self._lock:
            return dict(self._sums)

    def __reduce__(self) -> tuple[Any, ...]:
        return Counters, ()
