"""One object -> one local file, whole and checked, or not there at all.

While it is on its way it lies in `NAME.partial`, locked by the process that fetches it (the system frees the lock of a process
that dies), with a note beside it of what it is: whoever comes next goes on from its last byte, if the object is still that one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from ..cache import write_whole
from ..counters import Counters
from ..faults import DataError
from .patience import GAINED_BYTES, Tries
from .store import Object, Store
from .trouble import Changed, Closed, Final, Local, Passing

PARTIAL, NOTE = ".partial", ".note"
_POLL_S = 0.05
_AGAIN = "let nothing write to data in use; if it was replaced, make its catalogue again (viewmill pack --index-only)"


@dataclass(frozen=True)
class Wanted:
    """An object as it should be. size -1 and sha256 "": not known. sha256 in hex."""

    url: str
    size: int = -1
    sha256: str = ""


def fetch(store: Store, wanted: Wanted, path: Path, counters: Counters, stop: Event | None = None,
          room: Callable[[int], None] | None = None, rename: Callable[[Path, Path], None] = os.rename) -> bool:
    """Make path hold the object. False where another process had just made it, or it was there.

    room(bytes) is called once before the first byte is written, with the partial file locked; what it raises is passed on.
    rename(partial, path) ends a transfer.
    Counts retries and fetched_bytes. Raises DataError, in one line, where the object cannot be had; Local where it cannot be
    written; Closed when stopped.
    """
    stop = stop or Event()
    partial = path.with_name(path.name + PARTIAL)
    handle = _locked(path, partial, stop)
    if handle is None:
        return False
    try:
        _Transfer(store, wanted, path, handle, counters, stop, room).run()
        rename(partial, path)
        _note_of(path).unlink(missing_ok=True)
        return True
    except OSError as error:
        raise Local(error.strerror or str(error)) from error
    finally:
        with suppress(OSError):
            if os.fstat(handle).st_size == 0 and not path.exists():  # a broken transfer that nobody can go on with
                partial.unlink(missing_ok=True)
                _note_of(path).unlink(missing_ok=True)
        os.close(handle)  # which frees the lock


def discard(path: Path) -> bool:
    """Remove what there is of a broken transfer, unless a live process is at it."""
    partial = path.with_name(path.name + PARTIAL)
    with suppress(FileNotFoundError):
        handle = os.open(partial, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink(missing_ok=True)
            _note_of(path).unlink(missing_ok=True)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
    return True


def noted(path: Path) -> dict[str, Any]:
    """The note of a transfer to path; {} where there is none that can be read."""
    try:
        found = json.loads(_note_of(path).read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _note_of(path: Path) -> Path:
    return path.with_name(path.name + NOTE)


def _locked(path: Path, partial: Path, stop: Event) -> int | None:
    """The partial file, open and locked by us; None once path is there. Waits while another process fetches it."""
    while True:
        if path.exists():
            return None
        try:
            handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Local(error.strerror) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.stat(partial).st_ino == os.fstat(handle).st_ino and not path.exists():
                    return handle  # else it was renamed or removed between opening and locking
        except BlockingIOError:
            if stop.wait(_POLL_S):
                os.close(handle)
                raise Closed(str(path)) from None
        os.close(handle)


class _Transfer:
    """The tries at one object. at: how many of its bytes are there; digest: of those; object: what the store said of it."""

    def __init__(self, store: Store, wanted: Wanted, path: Path, handle: int, counters: Counters, stop: Event,
                 room: Callable[[int], None] | None) -> None:
        self.store, self.wanted, self.path, self.handle, self.room = store, wanted, path, handle, room
        self.counters, self.stop = counters, stop
        self.object: Object | None = None
        self.at, self.digest = 0, hashlib.sha256()
        self.resumed = self.noted = self.begun_anew = False

    def run(self) -> None:
        self._take_up()
        tries, since = Tries(self.wanted.url, self.store.patience, self.counters, self.stop), self.at
        while True:
            try:
                self._get()
                self._verify()
                os.fsync(self.handle)
                return
            except Changed as change:
                self._begin_anew(change)
                since = 0
            except Passing as trouble:
                if self.at - since >= GAINED_BYTES:
                    tries.gained()
                since = self.at
                tries.failed(trouble)
                if not self.wanted.sha256 and not (self.object and self.object.version):
                    self._reset()  # nothing would show that the rest belongs to another object
                    since = 0
            except Final as trouble:
                tries.failed(trouble)

    def _take_up(self) -> None:
        """Go on with an earlier transfer, if its note says what of."""
        note = noted(self.path)
        length = os.fstat(self.handle).st_size
        usable = note.get("url") == self.wanted.url and note.get("version") and isinstance(note.get("size"), int)
        if not usable or not length or length > note["size"] or self.wanted.size not in (-1, note["size"]):
            self._reset()
            return
        self.object, self.resumed = Object(note["size"], note["version"]), True
        while self.at < length:
            data = os.pread(self.handle, 1 << 20, self.at)
            self.digest.update(data)
            self.at += len(data)

    def _get(self) -> None:
        if self.stop.is_set():
            raise Closed(self.wanted.url)
        size = self.wanted.size if self.wanted.size >= 0 else self.object.size if self.object is not None else -1
        if self.at == size:  # all of it had come, or it is empty
            self._opened(self.store.about(self.wanted.url))
        else:
            self.store.stream(self.wanted.url, self.at, size if size >= 0 else None, self._sink, self._opened)

    def _opened(self, found: Object) -> None:
        """What the store says, before the bytes that it is about to send."""
        if found.size >= 0 and self.wanted.size not in (-1, found.size):
            raise Changed(f"it has {found.size} bytes, the catalogue says {self.wanted.size}")
        if self.object is not None and (found.version != self.object.version or found.size != self.object.size):
            raise Changed(f"it changed while it was read: {_said(self.object)}, then {_said(found)}")
        self.object = found
        if not self.noted:
            size = self.wanted.size if self.wanted.size >= 0 else found.size
            note = {"url": self.wanted.url, "version": found.version, "size": size}
            write_whole(_note_of(self.path), json.dumps(note).encode())  # before there is room: others then leave it to us
            if self.room is not None:
                self.room(size)
            self.noted = True

    def _sink(self, data: bytes) -> None:
        if self.stop.is_set():
            raise Closed(self.wanted.url)
        self.counters.add("fetched_bytes", len(data))
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self.handle, view, self.at)
                self.digest.update(view[:written])
                self.at += written
                view = view[written:]
        except OSError as error:
            raise Local(error.strerror or str(error)) from error

    def _verify(self) -> None:
        size = self.wanted.size if self.wanted.size >= 0 else self.object.size if self.object is not None else -1
        if size not in (-1, self.at):
            raise Passing(f"{self.at} of {size} bytes came")
        if self.wanted.sha256:
            if self.digest.hexdigest() != self.wanted.sha256:
                raise Changed(f"its sha256 is {self.digest.hexdigest()}, the catalogue says {self.wanted.sha256}")
        elif self.object is not None and self.object.version:
            self._opened(self.store.about(self.wanted.url))

    def _begin_anew(self, change: Changed) -> None:
        """Once; and as often as what an earlier process had left turns out to be of another object."""
        self._reset()
        if self.resumed:
            self.resumed = False
            return
        if self.begun_anew:
            raise DataError(f"{self.wanted.url}: {change}, also when read anew: {_AGAIN}") from change
        self.begun_anew = True
        self.counters.add("retries")

    def _reset(self) -> None:
        try:
            os.ftruncate(self.handle, 0)
        except OSError as error:
            raise Local(error.strerror or str(error)) from error
        self.object, self.at, self.digest, self.noted = None, 0, hashlib.sha256(), False


def _said(found: Object) -> str:
    return f"{found.size} bytes of version {found.version or 'unknown'}"
