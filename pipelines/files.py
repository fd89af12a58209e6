"""Open files, shared by threads: read at offsets, so that no reader moves another's place."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock


class _Descriptor:
    """Closed when the last reader lets go of it, so that one thread may drop a file from which another reads."""

    def __init__(self, path: str | Path) -> None:
        self.number = -1
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


class Files:
    """At most `most` files are kept open, those used latest. Pickles as nothing: the copy opens its own."""

    def __init__(self, most: int = 128) -> None:
        self.most = most
        self._lock = Lock()
        self._open: OrderedDict[str | Path, _Descriptor] = OrderedDict()

    def read(self, path: str | Path, offset: int, size: int) -> bytes:
        """The bytes there are from offset on, size of them at most. Raises OSError."""
        held = self._descriptor(path)  # as long as it is read from, or another file might get its number meanwhile
        return os.pread(held.number, size, offset)

    def will_need(self, path: str | Path, offset: int, size: int) -> None:
        """Ask the system to have these bytes in memory soon, where it can be asked (Linux). Raises OSError."""
        held = self._descriptor(path)
        os.posix_fadvise(held.number, offset, size, os.POSIX_FADV_WILLNEED)

    def forget(self, path: str | Path) -> None:
        """Close a file, once nobody reads from it."""
        with self._lock:
            self._open.pop(path, None)

    def close(self) -> None:
        """Close all files, once nobody reads from them; from now on each is open only while it is read from."""
        with self._lock:
            self.most = 0
            self._open.clear()

    def _descriptor(self, path: str | Path) -> _Descriptor:
        with self._lock:
            found = self._open.get(path)
            if found is not None:
                self._open.move_to_end(path)
        if found is None:
            found = _Descriptor(path)
            with self._lock:
                self._open[path] = found
                while len(self._open) > self.most:
                    self._open.popitem(last=False)
        return found

    def __len__(self) -> int:
        return len(self._open)

    def __reduce__(self) -> tuple[type[Files], tuple[int]]:
        return Files, (self.most,)
