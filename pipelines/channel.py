"""What a trainer and its sidecar say to each other over a socket. Both ends are one program, so pickles are safe here.

To the sidecar: the job, one pickle; then eight bytes for each slot that is new, free or gone, a new one's with its memory.
To the trainer: one pickle for each batch made, warning or error.
"""

from __future__ import annotations

import pickle
import socket
import struct
from dataclasses import dataclass
from typing import Any

NEW, FREE, GONE = 1, 2, 3
_SLOT = struct.Struct("<II")
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class Failure:
    """An exception on its way to the trainer. error: None where it does not pickle, then name and text tell it."""

    error: BaseException | None
    name: str
    text: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        import traceback

        lines = "".join(traceback.format_exception(error))
        try:
            kept = pickle.loads(pickle.dumps(error.with_traceback(None)))
            same = type(kept) is type(error) and str(kept) == str(error)
        except Exception:
            same = False
        return cls(error if same else None, type(error).__name__, str(error), lines)

    def raised(self) -> BaseException:
        """The exception to raise; its one-line message is the original's, the sidecar's traceback a note on it."""
        error = self.error if self.error is not None else RuntimeError(f"{self.name} in the sidecar process: {self.text}")
        if not isinstance(error, ValueError):  # a user's mistake is told in one line; a fault shows where it happened
            error.add_note("In the sidecar process:\n" + self.traceback)
        return error


class Channel:
    """One end. Receiving can be interrupted by an exception (Ctrl-C) and goes on where it was."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._got = bytearray()

    def send(self, message: Any) -> None:
        data = pickle.dumps(message, protocol=5)
        self.socket.sendall(_LENGTH.pack(len(data)))
        self.socket.sendall(data)

    def receive(self) -> Any:
        """The next message. Raises EOFError when the other end is gone."""
        self._fill(_LENGTH.size)
        size = _LENGTH.size + _LENGTH.unpack_from(self._got)[0]
        self._fill(size)
        data = bytes(memoryview(self._got)[_LENGTH.size:size])
        self._got = bytearray()
        return pickle.loads(data)

    def send_slot(self, kind: int, number: int, fd: int | None = None) -> None:
        """Takes no lock: eight bytes go out in one piece, whichever thread sends them."""
        data = _SLOT.pack(kind, number)
        if fd is None:
            self.socket.send(data)
        else:
            socket.send_fds(self.socket, [data], [fd])

    def receive_slot(self) -> tuple[int, int, int | None]:
        """Kind, number, and the memory's file descriptor of a new slot. Raises EOFError when the other end is gone."""
        try:
            data, fds, _, _ = socket.recv_fds(self.socket, _SLOT.size, 1)
        except ConnectionResetError:
            data, fds = b"", []
        if len(data) < _SLOT.size:
            raise EOFError
        kind, number = _SLOT.unpack(data)
        return kind, number, fds[0] if fds else None

    def close(self) -> None:
        self.socket.close()

    def _fill(self, size: int) -> None:
        """Read until `size` bytes are there, and never more: slots may follow that bring file descriptors."""
        while len(self._got) < size:
            try:
                data = self.socket.recv(min(size - len(self._got), 1 << 20))
            except ConnectionResetError:
                data = b""
            if not data:
                raise EOFError
            self._got += data
