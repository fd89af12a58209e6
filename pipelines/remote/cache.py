"""Whole objects on the local disk, in one bounded folder that all processes of a host share; those used longest ago go first.

A file's name tells its content, so it never goes stale; its time of change is when it was used last, or that a stream is through
with it, which makes it one of the first to go. Nobody owns one: a process
that has it open reads on when another removes it, and whoever finds it gone fetches it again.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from threading import Event
from typing import NamedTuple

from ..cache import cache_folder, write_whole
from ..counters import Counters
from ..faults import DataError
from .fetch import NOTE, PARTIAL, Wanted, discard, fetch, noted
from .store import Store
from .trouble import Closed, Local, NoRoom

USED_SECONDS = 5.0
"""A file is marked as used at most so often: marking takes longer than a small read."""

LEFT_S = 1
"""The time of use (seconds since 1970) of what nobody needs any more as far as is known."""

_OURS = re.compile(r"([0-9a-f]{32}\.(?:tar|index))(\.partial)?")
_LOCK = ".lock"
_POLL_S = 0.1


class _Held(NamedTuple):
    used_ns: int
    name: str
    bytes: int
    partial: bool


class ShardCache:
    """Objects in `folder`, which may have other files: they are neither counted nor touched. most_bytes: default half of what is
    free there, with what the cache has already. Pickles as its folder and bound; used by many threads at once. Raises DataError
    for a folder that cannot be written."""

    def __init__(self, folder: str | Path | None = None, most_bytes: int | None = None) -> None:
        self.folder = Path(os.path.abspath(cache_folder() / "shards" if folder is None else folder))
        self._marked: dict[str, float] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if most_bytes is None:
                most_bytes = (shutil.disk_usage(self.folder).free + self.held_bytes()) // 2
        except OSError as error:
            raise DataError(f"{self.folder}: cannot hold remote shards ({error.strerror}): give another cache folder "
                            "(remote.cache)") from error
        self.most_bytes = most_bytes

    def path_of(self, wanted: Wanted) -> Path:
        about = f"{wanted.url}\n{wanted.size}\n{wanted.sha256}"
        ending = "index" if wanted.url.endswith(".index") else "tar"
        return self.folder / f"{blake2b(about.encode(), digest_size=16).hexdigest()}.{ending}"

    def find(self, wanted: Wanted) -> Path | None:
        """Where it lies, marked as used; None where it is not there."""
        path = self.path_of(wanted)
        return path if self.mark(path, anew=True) else None

    def mark(self, path: Path, anew: bool = False) -> bool:
        """That it is used now. anew: even if that was said a moment ago. False where it has gone."""
        now = time.monotonic()
        if not anew and now - self._marked.get(path.name, -USED_SECONDS) < USED_SECONDS:
            return True
        try:
            os.utime(path)
        except OSError:
            self._marked.pop(path.name, None)
            return False
        self._marked[path.name] = now
        return True

    def leave(self, path: Path) -> None:
        """That it may be the next to go: whoever else needs it will mark it again."""
        self._marked.pop(path.name, None)
        with suppress(OSError):
            os.utime(path, (LEFT_S, LEFT_S))

    def get(self, store: Store, wanted: Wanted, counters: Counters, stop: Event) -> tuple[Path, bool]:
        """Where it lies, once it does, and whether it was fetched for that: by this process, unless another is at it already.
        Counts evicted (shards), and what `fetch` counts. Raises DataError in one line; Closed when stopped."""
        path = self.path_of(wanted)
        if wanted.size > self.most_bytes:
            raise DataError(f"{wanted.url}: has {wanted.size} bytes, and the cache {self.folder} may hold {self.most_bytes} in "
                            "all: allow more (remote.cache_bytes)")
        while True:
            if self.mark(path, anew=True):
                return path, False
            try:
                made = fetch(store, wanted, path, counters, stop, lambda size: self._make_room(path, size, counters),
                             self._rename)
                return path, made
            except NoRoom:  # other transfers hold it, and will end
                if stop.wait(_POLL_S):
                    raise Closed(wanted.url) from None
            except Local as trouble:
                raise DataError(f"{self.folder}: cannot be written ({trouble}): make room there, or give another folder or a "
                                "lower bound (remote.cache, remote.cache_bytes)") from trouble

    def drop(self, wanted: Wanted) -> None:
        """Remove what turned out to be damaged."""
        self.path_of(wanted).unlink(missing_ok=True)

    def held_bytes(self) -> int:
        """Of all objects, those on their way at the size they will have."""
        with self._locked():
            return sum(each.bytes for each in self._held())

    def _make_room(self, path: Path, size: int, counters: Counters) -> None:
        """For a transfer to path, which is locked by us. Raises NoRoom."""
        partial = path.name + PARTIAL
        with self._locked():
            others = sorted(each for each in self._held() if each.name not in (partial, path.name))
            excess = sum(each.bytes for each in others) + max(size, 0) - self.most_bytes
            for each in others:
                if excess <= 0:
                    break
                if each.partial:
                    if not discard(self.folder / each.name.removesuffix(PARTIAL)):
                        continue
                else:
                    (self.folder / each.name).unlink(missing_ok=True)
                    if each.name.endswith(".tar"):
                        counters.add("evicted")
                excess -= each.bytes
            if excess > 0:
                raise NoRoom("transfers under way fill the cache")
            write_whole(path.with_name(path.name + NOTE), json.dumps({**noted(path), "room": True}).encode())

    def _rename(self, partial: Path, path: Path) -> None:
        with self._locked():  # whoever counts what is held sees it under one name or the other
            partial.rename(path)

    def _held(self) -> list[_Held]:
        """To be called with the lock."""
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                match = _OURS.fullmatch(entry.name)
                if match is None:
                    continue
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    size, partial = status.st_size, bool(match[2])
                    if partial:
                        note = noted(self.folder / match[1])
                        if note.get("room") and isinstance(note.get("size"), int):
                            size = max(size, note["size"])
                    found.append(_Held(status.st_mtime_ns, entry.name, size, partial))
        return found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def __reduce__(self) -> tuple[type[ShardCache], tuple[Path, int]]:
        return ShardCache, (self.folder, self.most_bytes)
