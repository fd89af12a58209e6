"""How long to wait for a store, and when to give up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import TypeVar

from ..counters import Counters
from ..faults import DataError
from .trouble import Changed, Closed, Final, Passing, Trouble

T = TypeVar("T")

GAINED_BYTES = 1 << 20
"""A transfer that has moved on by so much since its last failure starts counting failures anew."""


@dataclass(frozen=True)
class Patience:
    """attempts: tries in a row that bring nothing, then it is an error. Between two of them a random time of up to
    min(most_s, first_s x 2^failures) seconds passes (full jitter), or what the server asks for, if that is longer (at most
    most_s x 4). connect_s, timeout_s: seconds to connect, and without a byte. slowest_bytes_per_s: a transfer that brings
    less, over timeout_s, is begun again. Raises ValueError for numbers that are not above 0."""

    attempts: int = 8
    first_s: float = 0.2
    most_s: float = 30.0
    connect_s: float = 10.0
    timeout_s: float = 60.0
    slowest_bytes_per_s: float = 1 << 14

    def __post_init__(self) -> None:
        for name in ("attempts", "first_s", "most_s", "connect_s", "timeout_s", "slowest_bytes_per_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} needs a number above 0, got {getattr(self, name)!r}")

    def wait_s(self, failures: int, chance: float, after_s: float = 0.0) -> float:
        """Seconds before the next try, after `failures` (>= 1) in a row. chance: uniform in [0, 1]."""
        backoff = chance * min(self.most_s, self.first_s * 2.0 ** min(failures, 60))
        return max(backoff, min(after_s, 4 * self.most_s))


@dataclass
class Tries:
    """The tries at one thing, counted. what: the URL. stop: ends the waiting, with Closed."""

    what: str
    patience: Patience
    counters: Counters
    stop: Event = field(default_factory=Event)
    failures: int = 0
    total: int = 0
    began: float = field(default_factory=time.monotonic)

    def gained(self) -> None:
        """There was progress: what failed before is forgiven."""
        self.failures = 0

    def failed(self, trouble: Trouble) -> None:
        """Wait, if another try is worth it. Raises DataError otherwise, in one line; Closed when stopped."""
        self.failures += 1
        self.total += 1
        if isinstance(trouble, Final):
            raise DataError(f"{self.what}: {trouble}: check the address, the permissions and storage_options") from trouble
        if self.failures >= self.patience.attempts:
            seconds = time.monotonic() - self.began
            raise DataError(f"{self.what}: {trouble}, the last of {self.total} tries in {seconds:.0f} s: check the network and "
                            "the store, or allow more (attempts, timeout_s)") from trouble
        self.counters.add("retries")
        after_s = trouble.after_s if isinstance(trouble, Passing) else 0.0
        if self.stop.wait(self.patience.wait_s(self.failures, random.random(), after_s)):
            raise Closed(self.what)

    def run(self, ask: Callable[[], T]) -> T:
        """What ask() gives, as soon as it does."""
        while True:
            if self.stop.is_set():
                raise Closed(self.what)
            try:
                return ask()
            except (Passing, Final, Changed) as trouble:
                self.failed(trouble)
