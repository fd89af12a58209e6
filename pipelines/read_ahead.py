"""Reading before rendering needs it: the next samples' bytes, bounded by their number of bytes.

Of local files the system is told which parts will be needed (posix_fadvise): it reads them into its own cache, without a copy or
a lock of the interpreter's here. Any other source is read by threads, many at once, since each waits for its storage.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from pathlib import Path
from traceback import clear_frames
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .files import Files
from .sources.arrays import ArraySource

READERS = 16
"""Threads of a source that is not in local files: 16 reads under way hide 5 ms each at 3,200 samples a second."""

HINTERS = 2
"""Threads that tell the system about local files: opening one may itself wait for the storage."""

SMALL_BYTES = 1 << 14
"""Local samples that are smaller on average are not announced: the system's own read-ahead brings their neighbours along, and
announcing one takes a third of the time that making its views takes."""

CLAIMED = 16
"""Samples that a thread takes at a time."""

PENDING, BUSY, READY, TAKEN = range(4)


@runtime_checkable
class InFiles(Protocol):
    """A source whose samples lie in local files."""

    def extent(self, index: int) -> tuple[str | Path, int, int]:
        """File, offset and size of what `read` reads. Raises OSError."""
        ...

    def __len__(self) -> int: ...


@runtime_checkable
class PartlyInFiles(Protocol):
    """A source of which some samples lie in local files, at this moment."""

    def at_hand(self, index: int) -> bool:
        """Whether a sample does; if so, the system is told to have it ready."""
        ...


class Expected:
    """A sample that will be read. size: bytes counted for it; result: what reading gave, or what it raised."""

    __slots__ = ("done", "index", "result", "size", "state")

    def __init__(self, index: int) -> None:
        self.index, self.state, self.size = index, PENDING, 0
        self.result: Any = None
        self.done: threading.Event | None = None


class ReadAhead:
    """Reads samples in the order in which they are expected, as far ahead as `most` bytes allow; one sample always is.

    Whoever needs a sample that has not been begun reads it at once: nothing ever waits for a turn.
    """

    def __init__(self, source: Any, most: int) -> None:
        self.source, self.most, self.held = source, most, 0
        self.guess, self._measured = most, False  # of the next sample's bytes; nothing is known of the first
        self._queue: deque[Expected] = deque()
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._full, self._closed = False, False
        self._files = Files()
        self._hints = isinstance(source, InFiles) and hasattr(os, "posix_fadvise")
        target, count = (self._hint, HINTERS) if self._hints else (self._read, READERS)
        self._threads = [threading.Thread(target=target, name=f"viewmill-read-{i}", daemon=True) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def expect(self, index: np.ndarray) -> list[Expected]:
        """To be read after all samples that are expected already."""
        expected = [Expected(i) for i in index.tolist()]
        if isinstance(self.source, PartlyInFiles):
            for each in expected:
                if self.source.at_hand(each.index):
                    each.state = TAKEN  # rendering reads it
        waiting = [each for each in expected if each.state == PENDING]
        if waiting:
            with self._work:
                self._queue.extend(waiting)
                self._work.notify_all()
        return expected

    def read(self, expected: Expected, index: int) -> bytes | np.ndarray:
        """The sample's bytes, as source.read(index) has them, or its exception; once. index: another one than was expected where
        a stand-in takes its place."""
        with self._lock:
            state, expected.state = expected.state, TAKEN
            own = index == expected.index and not self._hints
            if state == BUSY and own:
                expected.done = threading.Event()
            elif state == READY or self._hints:
                self._release(expected)
        if not own or state in (PENDING, TAKEN):
            return self.source.read(index)
        if expected.done is not None:
            expected.done.wait()
        result, expected.result = expected.result, None
        if isinstance(result, BaseException):
            raise result
        return result

    def close(self) -> None:
        """End the threads. A read that is under way may be long, and nothing waits for it."""
        with self._work:
            self._closed = True
            self._queue.clear()
            self._work.notify_all()

    def _claim(self, count: int) -> list[Expected]:
        """The next samples that nobody has begun; waits for room. Empty when closed."""
        with self._work:
            while not self._closed:
                claimed: list[Expected] = []
                while self._queue and len(claimed) < count:
                    if self._queue[0].state == PENDING:
                        if self.held and self.held + self.guess > self.most:
                            self._full = True
                            break
                        expected = self._queue[0]
                        expected.state, expected.size = BUSY, self.guess
                        self.held += self.guess
                        claimed.append(expected)
                    self._queue.popleft()
                if claimed:
                    return claimed
                self._work.wait()
        return []

    def _account(self, expected: Expected, size: int) -> None:
        """What was guessed for a sample becomes what it takes. The guess follows the largest of late samples."""
        self.guess = max(size, self.guess - self.guess // 64 if self._measured else 1)
        self._measured = True
        self.held += size - expected.size
        expected.size = size
        self._tell()

    def _release(self, expected: Expected) -> None:
        self.held -= expected.size
        expected.size = 0
        self._tell()

    def _tell(self) -> None:
        """Wake readers once there is room for several samples: waking a thread costs more than a small read."""
        if self._full and (self.held == 0 or self.held + self.guess <= self.most * 3 // 4):
            self._full = False
            self._work.notify_all()

    def _hint(self) -> None:
        while claimed := self._claim(CLAIMED):
            for expected in claimed:
                size = 0
                with contextlib.suppress(Exception):  # reading will say what is wrong
                    path, offset, size = self.source.extent(expected.index)
                    self._files.will_need(path, offset, size)
                with self._lock:
                    if expected.state == BUSY:
                        expected.state = READY
                        self._account(expected, size)

    def _read(self) -> None:
        while claimed := self._claim(1):
            expected = claimed.pop()
            try:
                result = self.source.read(expected.index)
            except BaseException as error:  # raised where the sample is rendered
                clear_frames(error.__traceback__)  # or what they hold, an index, would be held as long as the error is
                result = error
            with self._lock:
                expected.result = result
                self._account(expected, size_of(result))
                if expected.state == BUSY:
                    expected.state = READY
                else:  # someone waits for it, or a stand-in took its place
                    self._release(expected)
                    if expected.done is not None:
                        expected.done.set()
            del expected, result


def size_of(data: Any) -> int:
    """Bytes of an encoded or decoded image; 0 of an error."""
    return data.nbytes if isinstance(data, np.ndarray) else len(data) if isinstance(data, bytes | bytearray) else 0


def read_ahead(source: Any, most: int) -> ReadAhead | None:
    """None where there is nothing to gain: most is 0, the samples lie in memory, or in local files and are small."""
    if most == 0 or isinstance(source, ArraySource):
        return None
    if isinstance(source, InFiles) and _mean_size(source) < SMALL_BYTES:
        return None
    return ReadAhead(source, most)


def _mean_size(source: InFiles) -> float:
    """Of 32 samples evenly spaced; those that are gone count as nothing."""
    sizes = [0]
    for index in np.linspace(0, len(source) - 1, 32).astype(np.int64).tolist():
        with contextlib.suppress(Exception):
            sizes.append(source.extent(index)[2])
    return sum(sizes) / max(1, len(sizes) - 1)
