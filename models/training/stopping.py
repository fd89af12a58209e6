"""How a run is asked to stop, and that it does so in time."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STATUS = 1
"""Of a process that did not stop in time."""
NOTE = "stopped"
"""A file in the folder of a run that a signal stopped."""
AGAIN_S = 3.0
"""A launcher may hand on a signal that its ranks got as well: within so long the same signal is the same wish."""


@dataclass
class Stop:
    """Set by a signal; the loop looks at it between two steps."""

    signal: int = 0
    before: dict[int, Any] = field(default_factory=dict)
    deadline: Deadline | None = None

    def agreed(self, number: int) -> int:
        """What ranks agreed on, the signal that one of them got, or 0: this one, too, has so long to end. Returns it."""
        if number and self.deadline is not None:
            self.deadline.begin(number)
        return number


class Deadline:
    """A thread that ends the process within_s seconds after it was asked to stop, unless it is closed before.

    A signal's handler in Python waits until the main thread comes back from whatever it calls, which may be a collective that
    never returns. What the interpreter writes into a file of ours at the signal itself wakes this thread at once. late: what to
    say then, of the signal's name. Main thread only.
    """

    def __init__(self, numbers: Sequence[int], within_s: float, late: Callable[[str], str], *,
                 end: Callable[[int], Any] = os._exit) -> None:
        self._numbers, self._within_s, self._late, self._end = set(numbers), within_s, late, end
        self._over = threading.Event()
        self._inbox, self._outbox = socket.socketpair()
        self._outbox.setblocking(False)
        self._before = signal.set_wakeup_fd(self._outbox.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._wait, name="viewmill-deadline", daemon=True)
        self._thread.start()

    def begin(self, number: int) -> None:
        self._outbox.send(bytes([number]))

    def close(self) -> None:
        self._over.set()
        signal.set_wakeup_fd(self._before)
        self._outbox.close()  # which the thread hears as an end
        self._thread.join()
        self._inbox.close()

    def _wait(self) -> None:
        while received := self._inbox.recv(64):
            asked = [number for number in received if number in self._numbers]
            if not asked:
                continue
            if not self._over.wait(self._within_s):
                # Not by print: the main thread may hold what it needs.
                os.write(2, (self._late(signal.Signals(asked[0]).name) + "\n").encode())
                self._end(STATUS)
            return


def note_stop(out: Path, number: int, step: int, total: int) -> None:
    """For whoever starts the run again: out/stopped says "SIGUSR1 412 1000", the signal, the steps taken, and of how many."""
    (out / NOTE).write_text(f"{signal.Signals(number).name} {step} {total}\n")


def forget_stop(out: Path) -> None:
    """Of an earlier run: this one goes on."""
    (out / NOTE).unlink(missing_ok=True)


@contextmanager
def stop_signals(*more: signal.Signals, again_s: float = 0.0, within_s: float | None = None,
                 late: Callable[[str], str] = str) -> Iterator[Stop]:
    """While inside, SIGTERM and SIGINT only leave a note; the same signal again, more than again_s seconds after, ends the
    process at once. more: signals that do likewise, however often they come. within_s: seconds after a signal when the process is
    ended from within, saying late(the signal's name); None: it has all the time."""
    stop = Stop()
    first: dict[int, float] = {}

    def note(number: int, frame: Any) -> None:
        now = time.monotonic()
        begun = first.setdefault(number, now)
        stop.signal = number
        if number in more or now - begun < again_s:
            return
        signal.signal(number, stop.before[number])
        if now > begun:  # a wish of its own
            signal.raise_signal(number)

    try:
        for number in (signal.SIGTERM, signal.SIGINT, *more):
            stop.before[number] = signal.signal(number, note)
        if within_s is not None:
            stop.deadline = Deadline(list(stop.before), within_s, late)
    except ValueError:  # not the main thread: signals are its business
        pass
    try:
        yield stop
    finally:
        if stop.deadline is not None:
            stop.deadline.close()
        for caught, old in stop.before.items():
            signal.signal(caught, old)
