"""Which shard and row a sample's number is, and what the shards' indexes say of it; for local and remote shards alike."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, Protocol

import numpy as np

from ..index import ShardIndex, key_of
from .keys import ambiguous, nearest_keys, not_found

KEPT_SAMPLES = 8_000_000
"""Samples whose index is held, about 50 bytes each, in maps of files where they could be; those of the shards used least recently
are opened again."""


class Indexes(Protocol):
    """Where indexes come from. Pickled with the table that uses it."""

    def load(self, shard: int, trusted: bool) -> ShardIndex:
        """trusted: it was loaded, and found whole, before. Raises DataError."""
        ...

    def prepare(self, shards: Sequence[int]) -> None:
        """These will be loaded next: the place to fetch several at once."""
        ...


class ShardTable:
    """Samples 0..n-1 of shards, counted through the shards in order.

    shard_sizes (S,): samples; names (S): what `where` calls the shards; indexes: loads their indexes when they are needed;
    held: indexes that can be had nowhere else, by shard. Used by many threads at once; pickles without the indexes that can
    be loaded again.
    """

    def __init__(self, shard_sizes: np.ndarray, names: Sequence[str], indexes: Indexes,
                 held: Mapping[int, ShardIndex] | None = None) -> None:
        self.shard_sizes, self.names, self.indexes = np.array(shard_sizes, np.int64), names, indexes
        self._ends = np.cumsum(self.shard_sizes)
        self._end_list: list[int] = self._ends.tolist()  # for one sample, Python's own search takes a tenth of NumPy's
        self._pinned = dict(held or {})
        self._held: OrderedDict[int, ShardIndex] = OrderedDict()
        self._held_samples, self._closed = 0, False
        self._trusted = bytearray(len(self.shard_sizes))
        self._lock = Lock()

    def __len__(self) -> int:
        return self._end_list[-1] if self._end_list else 0

    def locate(self, index: int) -> tuple[int, int]:
        """Shard and row of a sample. Raises IndexError."""
        ends = self._end_list
        if not 0 <= index < len(self):
            raise IndexError(f"samples are 0..{len(self) - 1}, got {index}")
        shard = bisect_right(ends, index)
        return shard, index - ends[shard - 1] if shard else index

    def index(self, shard: int) -> ShardIndex:
        with self._lock:
            if shard in self._pinned:
                return self._pinned[shard]
            if shard in self._held:
                self._held.move_to_end(shard)
                return self._held[shard]
        found = self.indexes.load(shard, bool(self._trusted[shard]))
        with self._lock:
            self._trusted[shard] = 1
            if not found.stored:
                self._pinned[shard] = found
            elif shard not in self._held and not self._closed:
                self._held[shard] = found
                self._held_samples += len(found)
                while len(self._held) > 1 and self._held_samples > KEPT_SAMPLES:
                    self._held_samples -= len(self._held.popitem(last=False)[1])
        return found

    def size_hw(self, index: np.ndarray) -> np.ndarray:
        index = np.asarray(index, np.int64).reshape(-1)
        if len(index) and not 0 <= index.min() <= index.max() < len(self):
            raise IndexError(f"samples are 0..{len(self) - 1}, got {index.min()}..{index.max()}")
        shards = np.searchsorted(self._ends, index, side="right")
        rows = index - (self._ends - self.shard_sizes)[shards]
        order = np.argsort(shards, kind="stable")
        needed, starts = np.unique(shards[order], return_index=True)
        ends = [*starts[1:].tolist(), len(order)]
        missing = [shard for shard in needed.tolist() if shard not in self._held and shard not in self._pinned]
        if len(missing) > 1:
            self.indexes.prepare(missing)
        sizes = np.empty((len(index), 2), np.int32)
        for shard, start, end in zip(needed.tolist(), starts.tolist(), ends[:len(needed)], strict=True):
            here = order[start:end]
            records = self.index(shard).records[rows[here]]
            sizes[here, 0], sizes[here, 1] = records["height"], records["width"]
        return sizes

    def key(self, index: int) -> str:
        shard, row = self.locate(index)
        return self.index(shard).key(row)

    def label(self, index: int) -> int:
        shard, row = self.locate(index)
        return self.index(shard).label(row)

    def where(self, index: int) -> str:
        shard, row = self.locate(index)
        return f"{self.names[shard]}: {self.index(shard).name(row)}"

    def find(self, key: str) -> int:
        """key may also be what `where` says, which is unique where a key is not. Raises NoSuchKey."""
        shard_name, colon, rest = key.rpartition(": ")
        named = [shard for shard, name in enumerate(self.names) if colon and name == shard_name]
        wanted, only = (key_of(rest), named[0]) if named else (key, None)
        found = [i for i, k in self._keys(only) if k == wanted]
        if len(found) > 1:
            exact = [i for i in found if self.where(i) == key]
            found = exact if len(exact) == 1 else found
        if len(found) > 1:
            raise ambiguous(key, [self.where(i) for i in found])
        if not found:
            raise not_found(key, nearest_keys(wanted, (k for _, k in self._keys(only))))
        return found[0]

    def close(self) -> None:
        """Let go of the indexes that can be loaded again; from now on none is held."""
        with self._lock:
            self._held.clear()
            self._closed = True

    def using(self, indexes: Indexes) -> ShardTable:
        """A table of the same shards that gets its indexes elsewhere; what each loads is its own."""
        other = object.__new__(type(self))
        other.__setstate__({**self.__getstate__(), "indexes": indexes, "_pinned": dict(self._pinned)})
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_held": None, "_held_samples": 0, "_closed": False, "_ends": None,
                "_end_list": None, "_trusted": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock(), _held=OrderedDict(), _ends=np.cumsum(state["shard_sizes"]),
                             _trusted=bytearray(len(state["shard_sizes"])))
        self._end_list = self._ends.tolist()

    def _keys(self, only: int | None) -> Iterator[tuple[int, str]]:
        for shard in range(len(self.shard_sizes)) if only is None else [only]:
            yield from enumerate(self.index(shard).keys(), int(self._ends[shard] - self.shard_sizes[shard]))


class OfShards:
    """What sources of shards say of their samples, by their table."""

    _table: ShardTable

    def __len__(self) -> int:
        return len(self._table)

    def size_hw(self, index: np.ndarray) -> np.ndarray:
        """Height and width (N, 2) int32 of samples (N,); 0, 0 where the header cannot be read."""
        return self._table.size_hw(index)

    def key(self, index: int) -> str:
        return self._table.key(index)

    def label(self, index: int) -> int:
        """-1 where there is none."""
        return self._table.label(index)

    def where(self, index: int) -> str:
        return self._table.where(index)

    def find(self, key: str) -> int:
        """key may also be what `where` says, which is unique where a key is not. Raises NoSuchKey."""
        return self._table.find(key)


def short_names(paths: Sequence[str]) -> list[str]:
    """File names, or whole paths (or URLs) of those whose file name is not unique."""
    names = [os.path.basename(path) for path in paths]
    count = Counter(names)
    return [name if count[name] == 1 else path for name, path in zip(names, paths, strict=True)]
