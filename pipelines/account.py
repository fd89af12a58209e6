"""What a loader has handed out and what that cost: its stats, its warnings, its quarantine log."""

from __future__ import annotations

import logging
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .counters import added
from .quarantine import Quarantined, QuarantineLog, now

if TYPE_CHECKING:
    from .producer import Made

LOG = logging.getLogger("viewmill")
WARNINGS = 10
"""Bad samples named one by one; all are counted."""


class Account:
    """Kept by a loader over all its producers. quarantine: a file for the bad samples."""

    def __init__(self, quarantine: str | Path | None) -> None:
        self._log = None if quarantine is None else QuarantineLog(quarantine)
        self._handed_out: dict[str, float] = {"delivered": 0, "samples": 0, "wait_seconds": 0.0, "total_seconds": 0.0}
        self._substituted: Counter[str] = Counter()
        self._ended: dict[str, float] = {"read": 0, "read_bytes": 0, "decoded": 0}  # by producers that have ended
        self._at_work: dict[str, float] = {}
        self._began: float | None = None

    def add(self, made: Made, began: float) -> None:
        """One more batch, that was waited for since `began` (perf_counter)."""
        now_s, counters = time.perf_counter(), self._handed_out
        self._began = began if self._began is None else self._began
        counters["delivered"] += 1
        counters["samples"] += len(made.index)
        counters["wait_seconds"] += now_s - began
        counters["total_seconds"] = now_s - self._began
        self._at_work = made.counters
        for bad in made.bad:
            named = sum(self._substituted.values())
            self._substituted[bad.reason] += 1
            if named < WARNINGS:
                more = "; further ones are only counted" if named == WARNINGS - 1 else ""
                LOG.warning("%s: %s; a stand-in takes its place%s", bad.where, bad.reason, more)
            if self._log is not None:
                self._log.add(Quarantined(now(), bad.shard, bad.key, bad.where, bad.offset, bad.size, bad.reason, made.epoch,
                                          int(made.position[bad.row]), bad.index))

    def end_producer(self) -> None:
        """What the one at work has counted stays; the next begins at zero."""
        self._ended, self._at_work = added(self._ended, self._at_work), {}

    def stats(self) -> dict[str, Any]:
        return {**self._handed_out, "substituted": dict(self._substituted), **added(self._ended, self._at_work)}
