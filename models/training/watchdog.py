"""Several ranks watch each other: one that hangs or is gone ends the job, and is named with its last step."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from .process import World, gather

INTERVAL_S = 5.0
"""Between two beats at most."""
STATUS = 1
"""Of a process that is ended."""
CLOSING_S = 5.0
"""How long its thread may take to end."""
BUSY_TIMES = 4
"""What is busy may take so many times as long."""


@dataclass(frozen=True)
class Beat:
    """What a rank tells now and then. count: rises with each beat; step: that it has taken; still_s: seconds since then; busy:
    what it does that no step is expected in, "" nothing."""

    count: int
    step: int
    still_s: float
    busy: str


class Watchdog:
    """Two threads of each rank: one tells the others how far this one is and asks how far they are, one ends the process, which
    may wait in a collective for good, once no rank has taken a step for hang_s seconds, or BUSY_TIMES as many where it is busy.

    step: after each step. busy: around what takes long on some rank alone, a kNN or a checkpoint. missing: after a collective
    failed, which rank is gone. Beats lie in a store of rank 0's, whose process may be frozen: who asks then waits, so only the
    first thread does, and the second goes by what it heard last and by this process's clock. One process alone watches nothing.
    """

    def __init__(self, world: World, hang_s: float | None, *, end: Callable[[int], Any] = os._exit) -> None:
        self._world, self._hang_s, self._end = world, hang_s, end
        self._count, self._step, self._busy = 0, 0, "the first step"  # which may compile kernels
        self._since = time.monotonic()
        self._closed = threading.Event()
        self._interval_s = min(INTERVAL_S, hang_s / 5) if hang_s else INTERVAL_S
        self._store: dist.TCPStore | None = None
        self._threads: list[threading.Thread] = []
        self._beats: dict[int, Beat] = {}  # as of the last answer of the store
        self._answered = time.monotonic()
        self._lost = False  # the store's process has ended, or was silent for longer than the store waits
        self._heard: dict[int, tuple[int, float]] = {}  # of each rank its last count, and when it was new here
        if world.size > 1:
            self._store = _meet(world)
            self._tell()
            gather(world, None)  # everybody has told something before anybody asks
            self._ask()
            for target in (self._talk, self._watch):
                self._threads.append(threading.Thread(target=target, name=f"viewmill-watchdog{target.__name__}", daemon=True))
                self._threads[-1].start()

    def step(self, step: int) -> None:
        self._step, self._since, self._busy = step, time.monotonic(), ""

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        self._busy = what
        try:
            yield
        finally:
            self._busy, self._since = "", time.monotonic()

    def close(self) -> None:
        """Before the process group goes."""
        self._closed.set()
        for thread in self._threads:
            thread.join(CLOSING_S)  # a process that ends while its thread asks the store is aborted

    def missing(self) -> str:
        """In words, the rank that tells nothing any more, and its last step; "" where all do."""
        if self._store is None:
            return ""
        before, until = self._beats, time.monotonic() + 3.5 * self._interval_s
        while not self._lost and time.monotonic() < until:
            time.sleep(self._interval_s / 10)
        now = self._beats
        if self._lost:
            return "rank 0, which holds what ranks tell each other, is gone"
        if now[self._world.rank].count == before[self._world.rank].count:
            return f"rank 0, which holds what ranks tell each other, does not answer, last heard of at step {now[0].step}"
        gone = [rank for rank, beat in now.items() if rank != self._world.rank and beat.count == before[rank].count]
        return f"rank {gone[0]} is gone, last heard of at step {now[gone[0]].step}" if gone else ""

    def _talk(self) -> None:
        while not self._closed.wait(self._interval_s):
            if not self._tell() or not self._ask():
                self._lost = True  # what waits for rank 0 fails by itself
                return

    def _watch(self) -> None:
        while not self._closed.wait(self._interval_s):
            if self._hang_s is None:
                continue
            beats = {**self._beats, self._world.rank: self._own()}
            if line := hung(aged(beats, self._heard, time.monotonic()), self._hang_s):
                line += self._silent(time.monotonic())
                print(f"viewmill: rank {self._world.rank}: {line}", file=sys.stderr, flush=True)
                self._end(STATUS)
                return

    def _silent(self, now: float) -> str:
        """Who has told nothing for a while: ranks that stand at one step differ by that."""
        long_s = 3 * self._interval_s
        if now - self._answered > long_s:
            return f"; rank 0, which holds what ranks tell each other, has not answered for {now - self._answered:.0f} s"
        silent = {rank: now - at for rank, (_, at) in self._heard.items() if now - at > long_s}
        return "".join(f"; rank {rank} has told nothing for {seconds:.0f} s" for rank, seconds in silent.items())

    def _own(self) -> Beat:
        self._count += 1
        return Beat(self._count, self._step, time.monotonic() - self._since, self._busy)

    def _tell(self) -> bool:
        assert self._store is not None
        own = self._own()
        try:
            self._store.set(f"beat/{self._world.rank}", json.dumps([own.count, own.step, own.still_s, own.busy]))
        except (RuntimeError, dist.DistError):
            return False
        return True

    def _ask(self) -> bool:
        assert self._store is not None
        try:
            self._beats = {rank: Beat(*json.loads(self._store.get(f"beat/{rank}"))) for rank in range(self._world.size)}
        except (RuntimeError, dist.DistError):
            return False
        self._answered = time.monotonic()
        return True


def aged(beats: dict[int, Beat], heard: dict[int, tuple[int, float]], now: float) -> dict[int, Beat]:
    """Beats, each as old as it is by this process's clock: a rank that is frozen tells nothing any more, not even that it stands
    still. heard: kept from call to call."""
    for rank, beat in beats.items():
        if rank not in heard or heard[rank][0] != beat.count:
            heard[rank] = beat.count, now
    return {rank: replace(beat, still_s=beat.still_s + now - heard[rank][1]) for rank, beat in beats.items()}


def hung(beats: dict[int, Beat], hang_s: float) -> str:
    """What to say where no rank has taken a step for so long and none is busy: which ones the others wait for; "" otherwise."""
    if any(beat.still_s < hang_s * (BUSY_TIMES if beat.busy else 1) for beat in beats.values()):
        return ""
    least = min(beat.step for beat in beats.values())
    late = [rank for rank, beat in beats.items() if beat.step == least]
    who = f"rank{'s' if len(late) > 1 else ''} {', '.join(map(str, late))}" if len(late) < len(beats) else "all ranks"
    return (f"no step for {hang_s:g} s: {who} did not get beyond step {least}; the job ends, and the same command goes on from "
            "the last checkpoint; hang_s= says how long is too long")


def _meet(world: World) -> dist.TCPStore:
    """A store that all ranks reach, of a port of its own at rank 0."""
    host = os.environ.get("MASTER_ADDR", "127.0.0.1")
    if world.rank == 0:
        store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=60))
        gather(world, store.port)
        return store
    port = gather(world, None)[0]
    return dist.TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=60))
