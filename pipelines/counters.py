"""What a stream did, in sums: images read, bytes fetched, retries, waits; kept where they happen, added up for the user.

All are cumulative. A producer sends what it and its source counted with each batch; the loader adds its producers up, and a
run the loaders of its ranks.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

WORDS = {"retries": "retries", "cache_hits": "shards found in the cache", "cache_misses": "not found there",
         "fetched_bytes": "fetched", "ranged_bytes": "of them by range", "fetch_wait_seconds": "waited for shards",
         "evicted": "shards dropped from the cache", "faults": "batches left to the CPU"}
"""Of the counters that are told at the end of a run, where they are not zero: what they count."""


class Counters:
    """Sums by name, which many threads may add to. Pickles as none: another process counts for itself."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sums: dict[str, float] = {}

    def add(self, name: str, n: float = 1) -> None:
        with self._lock:
            self._sums[name] = self._sums.get(name, 0) + n

    def get(self, name: str) -> float:
        with self._lock:
            return self._sums.get(name, 0)

    def snapshot(self) -> dict[str, float]:
        with self._lock:
            return dict(self._sums)

    def __reduce__(self) -> tuple[type[Counters], tuple[()]]:
        return Counters, ()


class Tally:
    """Numbers that many threads note, each in a tenth of a microsecond and without a lock, and one takes together."""

    def __init__(self) -> None:
        self._noted: deque[int] = deque()
        self.note = self._noted.append

    def take(self) -> tuple[int, int]:
        """How many numbers were noted since the last time, and their sum."""
        noted = [self._noted.popleft() for _ in range(len(self._noted))]
        return len(noted), sum(noted)


def added(one: Mapping[str, float], other: Mapping[str, float], sign: int = 1) -> dict[str, float]:
    """one + sign * other, name by name."""
    return {name: one.get(name, 0) + sign * other.get(name, 0) for name in {**one, **other}}


def summed(stats: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The stats of several loaders as if of one: all sums added up, the reasons in "substituted" one by one."""
    total: dict[str, Any] = {}
    reasons: Counter[str] = Counter()
    for each in stats:
        plain = {name: value for name, value in each.items() if name != "substituted"}
        total = added(total, plain)
        reasons.update(each["substituted"])
    return {**total, "substituted": dict(reasons)}


def as_metrics(stats: Mapping[str, Any]) -> dict[str, float]:
    """The stats as flat numbers: "data/read" and so on, "data/substituted" in all and "data/substituted/REASON" each.
    delivered and total_seconds are left out: a run has its own."""
    flat = {name: value for name, value in stats.items() if name not in ("substituted", "delivered", "total_seconds")}
    flat["substituted"] = sum(stats["substituted"].values())
    flat |= {f"substituted/{_tag(reason)}": count for reason, count in sorted(stats["substituted"].items())}
    return {f"data/{name}": value for name, value in flat.items()}


def in_words(stats: Mapping[str, Any], quarantine: Path | None = None) -> str:
    """One line: what was read, what was replaced and why, and whatever else is not zero. quarantine: where the bad ones are
    named."""
    said = [f"read {stats['read']:,.0f} images ({_bytes(stats['read_bytes'])})"]
    reasons = sorted(stats["substituted"].items(), key=lambda item: -item[1])
    if reasons:
        why = ", ".join(f"{count:,} x {reason}" for reason, count in reasons[:3])
        named = f"; {quarantine} names them" if quarantine is not None else ""
        said.append(f"{sum(stats['substituted'].values()):,} replaced by stand-ins ({why}{', ...' * (len(reasons) > 3)}{named})")
    for name, words in WORDS.items():
        value = stats.get(name, 0)
        if value:
            amount = _bytes(value) if name.endswith("bytes") else f"{value:,.0f}{' s' * name.endswith('seconds')}"
            said.append(f"{amount} {words}")
    return ", ".join(said)


def _tag(reason: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", reason.lower()).strip("_")


def _bytes(count: float) -> str:
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "KB")):
        if count >= 1000**power:
            return f"{count / 1000**power:.1f} {unit}"
    return f"{count:.0f} bytes"
