"""WebDataset tar shards on a local disk, read by offset."""

from __future__ import annotations

import sys
import time
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ..faults import BadSample, DataError
from ..files import Files
from ..index import EXTENSIONS, ShardIndex, key_of, load_index
from ..tar import members
from .keys import ambiguous, nearest_keys, not_found

KEPT_SAMPLES = 8_000_000
"""Samples whose index is held in memory, about 50 bytes each; the shards used least recently are read again from the cache."""

_QUIET_SECONDS = 3.0


class TarSource:
    """Samples of local tars, shard after shard. An index is made of each on first use, and cached.

    Pickles as its paths and sizes; an index that could not be cached goes along. Raises DataError for a shard that is
    missing, cut short or not a tar, for one that changes while in use, and where no shard has an image.
    """

    local = True

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = [Path(path).absolute() for path in paths]
        self._names = _names(self.paths)
        self._files, self._lock = Files(), Lock()
        self._held: OrderedDict[int, ShardIndex] = OrderedDict()
        self._pinned: dict[int, ShardIndex] = {}
        sizes, digests, labelled = [], [], False
        with _Progress(len(self.paths)) as progress:
            for shard, path in enumerate(self.paths):
                index = load_index(path)
                self._keep(shard, index)
                sizes.append(len(index))
                digests.append(index.digest)
                labelled = labelled or bool((index.records["label"] >= 0).any())
                progress.step()
        self.shard_sizes = np.array(sizes, np.int64)
        self.labelled = labelled
        self._digests = digests
        self.fingerprint = blake2b("\n".join(digests).encode(), digest_size=16).hexdigest()
        self._ends = np.cumsum(self.shard_sizes)
        self._end_list: list[int] = self._ends.tolist()  # for one sample, Python's own search takes a tenth of NumPy's
        if not self.shard_sizes.sum():
            raise DataError(_no_images(self.paths))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def size_hw(self, index: np.ndarray) -> np.ndarray:
        index = np.asarray(index, np.int64).reshape(-1)
        if len(index) and not 0 <= index.min() <= index.max() < len(self):
            raise IndexError(f"samples are 0..{len(self) - 1}, got {index.min()}..{index.max()}")
        shards = np.searchsorted(self._ends, index, side="right")
        rows = index - (self._ends - self.shard_sizes)[shards]
        sizes = np.empty((len(index), 2), np.int32)
        for shard in np.unique(shards).tolist():
            here = shards == shard
            records = self._index(shard).records[rows[here]]
            sizes[here, 0], sizes[here, 1] = records["height"], records["width"]
        return sizes

    def read(self, index: int) -> bytes:
        shard, row = self._locate(index)
        offset, size = self._index(shard).place(row)
        try:
            data = self._files.read(self.paths[shard], offset, size)
        except OSError as error:
            raise BadSample(f"cannot be read ({error.strerror})") from error
        if len(data) != size:
            raise BadSample("its shard has become shorter")
        return data

    def extent(self, index: int) -> tuple[Path, int, int]:
        """File, offset and size of what `read` reads."""
        shard, row = self._locate(index)
        return self.paths[shard], *self._index(shard).place(row)

    def key(self, index: int) -> str:
        shard, row = self._locate(index)
        return self._index(shard).key(row)

    def label(self, index: int) -> int:
        shard, row = self._locate(index)
        return self._index(shard).label(row)

    def where(self, index: int) -> str:
        shard, row = self._locate(index)
        return f"{self._names[shard]}: {self._index(shard).name(row)}"

    def find(self, key: str) -> int:
        """key may also be what `where` says, which is unique where a key is not."""
        shard_name, colon, rest = key.rpartition(": ")
        wanted = key_of(rest) if colon and shard_name in self._names else key
        only = self._names.index(shard_name) if wanted is not key else None
        found = [i for i, k in self._keys(only) if k == wanted]
        if len(found) > 1:
            exact = [i for i in found if self.where(i) == key]
            found = exact if len(exact) == 1 else found
        if len(found) > 1:
            raise ambiguous(key, [self.where(i) for i in found])
        if not found:
            raise not_found(key, nearest_keys(wanted, (k for _, k in self._keys(only))))
        return found[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_held": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock(), _held=OrderedDict())

    def _keys(self, only: int | None) -> Iterator[tuple[int, str]]:
        for shard in range(len(self.paths)) if only is None else [only]:
            yield from enumerate(self._index(shard).keys(), int(self._ends[shard] - self.shard_sizes[shard]))

    def _locate(self, index: int) -> tuple[int, int]:
        ends = self._end_list
        if not 0 <= index < ends[-1]:
            raise IndexError(f"samples are 0..{len(self) - 1}, got {index}")
        shard = bisect_right(ends, index)
        return shard, index - ends[shard - 1] if shard else index

    def _index(self, shard: int) -> ShardIndex:
        with self._lock:
            if shard in self._pinned:
                return self._pinned[shard]
            if shard in self._held:
                self._held.move_to_end(shard)
                return self._held[shard]
            found = load_index(self.paths[shard])
            if found.digest != self._digests[shard]:
                raise DataError(f"{self.paths[shard]}: has changed since it was opened: open the data again, and let nothing "
                                "write to shards in use")
            self._keep(shard, found)
            return found

    def _keep(self, shard: int, index: ShardIndex) -> None:
        if not index.stored:
            self._pinned[shard] = index
            return
        self._held[shard] = index
        while len(self._held) > 1 and sum(map(len, self._held.values())) > KEPT_SAMPLES:
            self._held.popitem(last=False)


class _Progress:
    """Says on stderr that shards are being indexed, once it takes longer than a few seconds."""

    def __init__(self, count: int) -> None:
        self.count, self.done, self.began, self.said = count, 0, time.monotonic(), False

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.said:
            print(file=sys.stderr)

    def step(self) -> None:
        self.done += 1
        if time.monotonic() - self.began > _QUIET_SECONDS:
            self.said = True
            print(f"\rindexing shards (once): {self.done} of {self.count}", end="", file=sys.stderr, flush=True)


def _names(paths: list[Path]) -> list[str]:
    """File names, or whole paths of those whose file name is not unique."""
    count = Counter(path.name for path in paths)
    return [path.name if count[path.name] == 1 else str(path) for path in paths]


def _no_images(paths: list[Path]) -> str:
    found = Counter("." + member.name.rpartition("/")[2].partition(".")[2].lower() for member in members(paths[0]))
    there = ", ".join(extension for extension, _ in found.most_common(5)) or "no file at all"
    which = f"{paths[0]}" if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more shards"
    return f"{which}: no images, found {there}: images are members named KEY.jpg (or {', '.join(sorted(EXTENSIONS - {'jpg'}))})"
