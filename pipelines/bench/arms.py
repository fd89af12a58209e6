"""The benchmark's end of an arm: starts its process, asks it to measure, ends it and all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from typing import TypeVar

from .messages import Failed, Ready, Spec, Taken
from .processes import cpu_seconds, tree, wait_until_idle

Message = TypeVar("Message")


class ArmFailed(Exception):
    """Why an arm is left out, in one line. refused: it says itself that it cannot do the recipe."""

    def __init__(self, why: str, refused: bool) -> None:
        super().__init__(why)
        self.refused = refused


class Arm:
    """One arm's process. Raises ArmFailed where it cannot start, or ends before it should."""

    def __init__(self, spec: Spec, label: str) -> None:
        self.spec, self.label = spec, label
        mine, its = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115, closed with the arm
        path = os.pathsep.join(each or os.getcwd() for each in sys.path)
        with its:
            # A session of its own: what it starts can be ended with it, and Ctrl-C in a terminal is for the benchmark.
            self._process = subprocess.Popen([sys.executable, "-P", "-m", f"{__package__}.arm", str(its.fileno())],
                                             pass_fds=[its.fileno()], env={**os.environ, "PYTHONPATH": path},
                                             stdin=subprocess.DEVNULL, stdout=self._said, stderr=self._said,
                                             start_new_session=True)
        self._connection = Connection(mine.detach())
        try:
            self._connection.send(spec)
            self.ready = self._receive(Ready)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def take(self, warm: int, batches: int, busy: bool = False) -> Taken:
        self._connection.send((warm, batches, busy))
        return self._receive(Taken)

    def cpu_seconds(self) -> float | None:
        """Of all its processes, until now."""
        return cpu_seconds(tree(self.pid))

    def rest(self, seconds_a_batch: float) -> None:
        """Wait until its queues are full and it does nothing more."""
        if not wait_until_idle(self.pid) and self.cpu_seconds() is None:
            time.sleep(1.5 * self.ready.ahead * seconds_a_batch)

    def close(self) -> None:
        """End it; workers that outlive their trainer are killed."""
        self._connection.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._said.close()

    def __enter__(self) -> Arm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self, kind: type[Message]) -> Message:
        try:
            message = self._connection.recv()
        except (EOFError, OSError):
            raise ArmFailed(f"its process ended{self._last_words()}", refused=False) from None
        if isinstance(message, Failed):
            raise ArmFailed(message.why, message.refused)
        assert isinstance(message, kind)
        return message

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = [line for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]
        return f"; its last words: {lines[-1].strip()}" if lines else ""
