"""Shards behind URLs: fetched whole, one at a time, read here, and removed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from ..counters import Counters
from ..faults import DataError
from ..index_file import INDEX_SUFFIX
from ..remote.fetch import Wanted, fetch
from ..remote.store import Store
from ..remote.trouble import Final, Local
from ..tar import Member
from .storage import Disk, Unreachable


class Fetched:
    """A name is a URL, of a shard or of the index beside it. In scratch each process has a folder of its own, which holds one
    shard: also that of a copy that was pickled for an earlier call. indexes: the local folder that has the indexes, "" where
    each lies beside its shard.

    Length and sha256 are not asked for, so that an object that has changed is told as damage, and not fetched anew.
    """

    def __init__(self, store: Store, scratch: Path, indexes: str = "") -> None:
        self.store, self.scratch, self.indexes = store, scratch, indexes
        self._disk = Disk()

    def length(self, name: str) -> int:
        """Raises Unreachable after the last try; DataError where there is no room here."""
        path = self._path(name)
        if self._beside(name) or path.exists():
            return self._disk.length(str(path))
        self._begin(path)
        try:
            fetch(self.store, Wanted(name), path, Counters())
        except Local as error:
            raise DataError(f"{self.scratch}: a shard cannot be written there ({error}): make room for one of each worker, give "
                            "fewer workers=, or set TMPDIR to another folder") from error
        except DataError as error:
            if isinstance(error.__cause__, Final) and any(status in str(error.__cause__) for status in ("(404)", "(410)")):
                return -1
            raise Unreachable(str(error).removeprefix(f"{name}: ")) from error
        finally:
            self.store.close()  # its connection; the next shard opens its own
        return path.stat().st_size

    def read(self, name: str, offset: int, size: int) -> bytes:
        return self._disk.read(str(self._had(name)), offset, size)

    def sha256(self, name: str) -> str:
        return self._disk.sha256(str(self._had(name)))

    def members(self, name: str) -> tuple[list[Member], DataError | None]:
        path = self._path(name)
        members, damage = self._disk.members(str(path))
        return members, None if damage is None else DataError(str(damage).replace(str(path), name))

    def __getstate__(self) -> dict[str, object]:
        return {"store": self.store, "scratch": self.scratch, "indexes": self.indexes}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _disk=Disk())

    def _had(self, name: str) -> Path:
        """Raises OSError where it is not there any more."""
        path = self._path(name)
        if not path.exists():
            self.length(name)
        return path

    def _beside(self, name: str) -> bool:
        return bool(self.indexes) and name.endswith(INDEX_SUFFIX)

    def _path(self, name: str) -> Path:
        """Short, whatever the URL; an index's begins as its shard's."""
        if self._beside(name):
            return Path(self.indexes) / name.rpartition("/")[2]
        shard = name.removesuffix(INDEX_SUFFIX)
        digest = blake2b(os.fsencode(shard), digest_size=8).hexdigest()
        return self.scratch / str(os.getpid()) / f"{digest}.tar{name[len(shard):]}"

    def _begin(self, path: Path) -> None:
        """Remove the shard that was read before, which open files would keep."""
        path.parent.mkdir(parents=True, exist_ok=True)
        others = [each for each in path.parent.iterdir() if each.name.partition(".")[0] != path.name.partition(".")[0]]
        if others:
            self._disk = Disk()
        for each in others:
            each.unlink()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Among the system's temporary files; removed at the end, with what processes have left there."""
    folder = Path(tempfile.mkdtemp(prefix="viewmill-check-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
