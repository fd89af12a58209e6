"""The trainer's end of production: the next batch of a job, from a sidecar process or from threads in this one."""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
import weakref
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from .channel import FREE, GONE, NEW, Channel, Failure
from .memory import shared_memory
from .plan import Job
from .producer import FreeSlot, Made, Producer
from .ring import Layout, Ring

if TYPE_CHECKING:
    from torch import Tensor


class Feed(Protocol):
    """Batches of one job, in order. pid: the process that may use it; a fork must start its own."""

    pid: int

    def next(self) -> tuple[Made, dict[str, Tensor]]:
        """Waits for the next batch. Raises what production raised, RuntimeError when the producer died."""

    def close(self) -> None:
        """End production. Batches already handed out stay valid. Does nothing the second time, or in a fork."""


class ThreadFeed:
    """Production by threads of this process."""

    def __init__(self, job: Job, layout: Layout, prefetch: int) -> None:
        self.pid, self.threads, self._layout = os.getpid(), job.threads, layout
        self._slots: dict[int, FreeSlot] = {}
        self._free: SimpleQueue[FreeSlot | None] = SimpleQueue()  # its put may be called from a finalizer
        self.ring = Ring(layout, prefetch, self, shared=False)
        self._producer = Producer(job, self._free.get)

    def add(self, number: int, memory: mmap.mmap, fd: int | None) -> None:
        self._slots[number] = FreeSlot(number, partial(self._layout.arrays, memory))
        self.give(number)

    def give(self, number: int) -> None:
        self._free.put(self._slots[number])

    def drop(self, number: int) -> None:
        del self._slots[number]

    def next(self) -> tuple[Made, dict[str, Tensor]]:
        self.ring.make_room()
        made = next(self._producer, None)
        if made is None:
            raise RuntimeError("the loader was closed by another thread while it waited for a batch")
        return made, self.ring.lend(made.slot, len(made.index))

    def close(self) -> None:
        if self.pid != os.getpid():
            return
        self.pid = -1
        self.ring.close()
        self._free.put(None)
        self._producer.close()


class SidecarFeed:
    """Production by a process of its own. job: pickled, see `pickled`."""

    def __init__(self, job: bytes, layout: Layout, prefetch: int) -> None:
        self.pid = os.getpid()
        mine, its = socket.socketpair()
        self._channel = Channel(mine)
        self._stderr = shared_memory(0, "viewmill-stderr")
        # The child finds this package, and the user's own sources, exactly where this process found them; -P keeps the
        # working directory from shadowing modules. A process group of its own: Ctrl-C in a terminal is the trainer's.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"{__package__}.sidecar", str(its.fileno()), str(self.pid)],
                pass_fds=[its.fileno()], env=environment, stdin=subprocess.DEVNULL, stdout=self._stderr, stderr=self._stderr,
                process_group=0)
        _LIVE.add(self)
        try:
            self._channel.send((layout, job))
            self.ring = Ring(layout, prefetch, self, shared=True)
        except BrokenPipeError:
            raise self._death() from None
        except BaseException:
            self.close()
            raise

    @property
    def process_id(self) -> int:
        return self._process.pid

    def add(self, number: int, memory: mmap.mmap, fd: int | None) -> None:
        self._send(NEW, number, fd)

    def give(self, number: int) -> None:
        self._send(FREE, number)

    def drop(self, number: int) -> None:
        self._send(GONE, number)

    def next(self) -> tuple[Made, dict[str, Tensor]]:
        self.ring.make_room()
        try:
            message = self._channel.receive()
        except EOFError:
            raise self._death() from None
        if isinstance(message, Failure):
            self.close()
            raise message.raised()
        return message, self.ring.lend(message.slot, len(message.index))

    def close(self) -> None:
        if self.pid != os.getpid():
            return
        self.pid = -1
        _LIVE.discard(self)
        if hasattr(self, "ring"):
            self.ring.close()
        self._channel.close()  # which ends the sidecar
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._stderr)

    def abandon(self) -> None:
        """In a fork of the trainer: let go of what is the parent's, so that the parent's death is still seen by its sidecar."""
        self.pid = -1
        self._channel.close()
        os.close(self._stderr)
        self._process.returncode = 0  # not our child: nothing to wait for

    def _send(self, kind: int, number: int, fd: int | None = None) -> None:
        with contextlib.suppress(OSError):  # a dead sidecar is told by next(), not by a finalizer
            self._channel.send_slot(kind, number, fd)

    def _death(self) -> RuntimeError:
        """What is known about the end of a sidecar that closed its socket without a word."""
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        lines = [x for x in os.pread(self._stderr, 1 << 20, 0).decode(errors="replace").splitlines() if x.strip()]
        self.close()
        fatal = [x for x in lines if x.startswith("Fatal Python error")]
        said = f"; its last words: {(fatal or lines)[-1].strip()}" if lines else ""
        if status >= 0:
            return RuntimeError(f"the sidecar process that renders batches ended with exit status {status}{said}")
        hint = " (the system does that when memory runs out)" if -status == signal.SIGKILL else ""
        return RuntimeError(f"the sidecar process that renders batches was killed by {signal.Signals(-status).name}{hint}{said}")


_LIVE: weakref.WeakSet[SidecarFeed] = weakref.WeakSet()


def _after_fork() -> None:
    for feed in list(_LIVE):
        feed.abandon()
    _LIVE.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class NotPicklable(Exception):
    """Another process cannot take up the job; the message says why, in one line."""


def pickled(job: Job) -> bytes:
    """The job for a sidecar. Raises NotPicklable."""
    try:
        data = pickle.dumps(job, protocol=5)
    except Exception as error:
        raise NotPicklable(f"{type(job.source).__name__} does not pickle ({error})") from None
    if b"__main__" in data:
        raise NotPicklable(f"{type(job.source).__name__} is defined in the main script, which another process cannot import")
    return data
