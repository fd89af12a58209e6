"""Where a check reads: the bytes of shards and what lies beside them, by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from ..catalogue import sha256_of
from ..faults import DataError
from ..files import Files
from ..tar import Member, whole_members


class Unreachable(Exception):
    """A file may be there, but cannot be had. The text says why, and what to do."""


class Storage(Protocol):
    """Read by offset. A name is what the place calls a file: on this machine its path. Used by one thread; pickled to workers."""

    def length(self, name: str) -> int:
        """In bytes; -1 where there is no such file. Raises OSError where that cannot be told, and
        Unreachable."""
        ...

    def read(self, name: str, offset: int, size: int) -> bytes:
        """The bytes there are from offset on, size of them at most. Raises OSError."""
        ...

    def sha256(self, name: str) -> str:
        """Of all of it, in hex. Raises OSError."""
        ...

    def members(self, name: str) -> tuple[list[Member], DataError | None]:
        """Of a tar: all regular files before a damage, and what the damage is. Never raises."""
        ...


class Disk:
    """Of this machine."""

    def __init__(self) -> None:
        self._files = Files(8)

    def length(self, name: str) -> int:
        try:
            return os.stat(name).st_size
        except (FileNotFoundError, NotADirectoryError):
            return -1

    def read(self, name: str, offset: int, size: int) -> bytes:
        return self._files.read(name, offset, size)

    def sha256(self, name: str) -> str:
        return sha256_of(Path(name))

    def members(self, name: str) -> tuple[list[Member], DataError | None]:
        return whole_members(Path(name))
