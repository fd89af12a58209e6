"""WebDataset tar shards behind URLs: those that a stream needs are fetched whole, ahead of need; single samples by range."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock
from typing import Any

import numpy as np

from ..counters import Counters
from ..faults import BadSample, DataError
from ..files import Files
from ..index import ShardIndex
from ..index_file import INDEX_SUFFIX, read_index_file
from ..order import Order
from ..read_ahead import SMALL_BYTES
from ..remote.ahead import Ahead, least_bytes
from ..remote.cache import ShardCache
from ..remote.fetch import Wanted
from ..remote.opening import Shards, find_shards
from ..remote.options import Remote
from ..remote.patience import Tries
from ..remote.store import Store
from .table import OfShards, ShardTable, short_names

EARLY_BYTES, EARLY_SHARE = 1 << 26, 0.03
"""Samples whose shard is still on its way are read by range, so that a stream begins at once: so many bytes of them, or this
share of the rank's own part of the data, if that is less; and this share of what is fetched whole. What is read by range is
fetched twice, and counts against the bytes that an epoch costs."""

_INDEXES_AT_ONCE = 16
_OF_THIS_PROCESS = frozenset(["_stop", "_early", "_ahead", "_anew", "_present", "_paths", "_table"])
_LOST = 4
"""Times that a shard may vanish from the cache between finding and opening it."""


class RemoteSource(OfShards):
    """Samples of remote shards that have a catalogue, shard after shard.

    A sample is read from its shard in the cache, else by range: any sample at any time costs its own bytes. A stream's view of
    the source, see `following`, brings whole shards into the cache before they are needed. verify: images are compared with
    their checksums. Counts cache_hits, cache_misses, evicted, retries, fetched_bytes, ranged_bytes and fetch_wait_seconds.
    Raises DataError for data without a catalogue, and where something cannot be had after all tries.
    """

    local = False
    _ahead: Ahead | None = None

    def __init__(self, urls: Sequence[str], remote: Remote | None = None, verify: bool = True) -> None:
        self.remote, self.verify = remote or Remote(), verify
        self.counters = Counters()
        self.cache = ShardCache(self.remote.cache, self.remote.cache_bytes)
        self._shards = find_shards(urls, self.remote)
        catalogue = self._shards.catalogue
        if not catalogue.shard_sizes.sum():
            raise DataError(f"{urls[0]}: no images in {len(catalogue)} shards, as their catalogue says: pack them again")
        self.shard_sizes = np.array(catalogue.shard_sizes, np.int64)
        self.labelled, self.fingerprint = catalogue.labelled, catalogue.fingerprint
        self._files = Files()
        self._sizes = catalogue.tar_bytes + catalogue.index_bytes
        self._begin()

    def read(self, index: int) -> bytes:
        """Raises BadSample where the sample is damaged in its shard; DataError where the shard cannot be had."""
        shard, row = self._table.locate(index)
        about = self._table.index(shard)
        offset, size = about.place(row)
        while True:
            data, whole = self._bytes(shard, offset, size)
            if len(data) == size and (not self.verify or about.is_whole(row, data)):
                return data
            if whole and shard in self._anew:
                raise BadSample("its bytes are not those that were packed (checksum)")
            self._anew.add(shard)  # what lies here may have been damaged here: once, it is fetched again
            if whole:
                self._leave(shard)
                self.cache.drop(self._wanted(shard))
            self._wait_for(shard)

    def at_hand(self, index: int) -> bool:
        """Whether a sample's shard lies in the cache, as far as is known without asking; if so, its bytes will soon be in
        memory."""
        shard, row = self._table.locate(index)
        if shard not in self._present:
            return False
        offset, size = self._table.index(shard).place(row)
        if size >= SMALL_BYTES:
            with suppress(OSError):
                self._files.will_need(self._path(shard), offset, size)
        return True

    def place(self, index: int) -> tuple[str, int, int]:
        """URL of the shard, offset and size of the sample's bytes in it."""
        shard, row = self._table.locate(index)
        return self._shards.catalogue.names[shard], *self._table.index(shard).place(row)


    def following(self, order: Order, epoch: int, rank: int, world_size: int, delivered: int, length: int,
                  ranks_here: int = 1) -> RemoteSource:
        """The source as one rank's stream sees it from that state on: shards are fetched ahead, into its part of the cache, and
        samples by range only as far as that is cheap. To be told what was `reached`, and closed."""
        twin = object.__new__(type(self))
        shards, remote = self._shards, self.remote
        stop = Event()
        own = Store(shards.store.scheme, remote.storage_options, remote.patience, stop)
        twin.__dict__.update(self.__dict__, _stop=stop, _anew=set(), _present=set(), _files=Files(),
                             _shards=replace(shards, store=own))
        total, connections = int(self._sizes.sum()), self.remote.connections
        under_way = connections * total // max(1, int(np.count_nonzero(self._sizes)))  # room for what reading asks for itself
        twin._early = _Early(self.counters, min(EARLY_BYTES, EARLY_SHARE * total / world_size))
        twin._table = self._table.using(twin._indexes(twin._stop))
        room = self.cache.most_bytes // ranks_here - under_way
        twin._ahead = Ahead(order, epoch, rank, world_size, delivered, length, self._sizes, room, connections, twin._bring,
                            twin._leave, twin._stop)
        return twin

    def reached(self, epoch: int, delivered: int) -> None:
        """That positions before `delivered` have been read."""
        ahead = self._ahead
        if ahead is not None:
            ahead.reached(epoch, delivered)

    def close(self) -> None:
        """End fetching ahead, and let go of files and connections; reads that wait end with Closed."""
        ahead, self._ahead = self._ahead, None  # which refers to this: without it, nothing waits for the garbage collector
        if ahead is not None:
            ahead.close()
        self._shards.store.close()
        self._files.close()
        self._table.close()

    def check_cache(self, order: Order, ranks: range, world_size: int) -> int:
        """The bytes of cache that those ranks, which share one, need for an order. Raises ValueError where it may hold less."""
        least = least_bytes(order, self._sizes, ranks, world_size, self.remote.connections)
        if least > self.cache.most_bytes:
            ways = {"full": "use shuffle='lanes'", "lanes": "use a smaller window"}.get(order.shuffle, "use smaller shards")
            raise ValueError(f"the cache {self.cache.folder} may hold {_gb(self.cache.most_bytes)}, and this order "
                             f"(shuffle={order.shuffle!r}, {order.lanes} lanes, window {order.window}) needs {_gb(least)} for "
                             f"{len(ranks)} of {world_size} ranks, or shards would be fetched again and again: allow more "
                             f"(remote.cache_bytes), or {ways}")
        return least

    def _bytes(self, shard: int, offset: int, size: int) -> tuple[bytes, bool]:
        """The bytes there are, and whether they come from the whole shard."""
        path = self._path(shard)
        for _ in range(_LOST):
            with suppress(OSError):
                data = self._files.read(path, offset, size)
                self.cache.mark(path)
                return data, True
            if shard not in self._anew and not self._shards.store.whole_only and self._early.allows(size):
                return self._ranged(self._wanted(shard).url, offset, size), False
            self._wait_for(shard)
        raise DataError(f"{path}: vanishes from the cache as soon as it is there: let nothing else remove files from "
                        f"{self.cache.folder}, and allow more (remote.cache_bytes)")

    def _ranged(self, url: str, offset: int, size: int) -> bytes:
        began = time.monotonic()
        tries = Tries(url, self.remote.patience, self.counters, self._stop)
        data = tries.run(lambda: self._shards.store.read(url, offset, offset + size))
        self.counters.add("ranged_bytes", size)  # first, since what is fetched whole is the difference
        self.counters.add("fetched_bytes", size)
        self.counters.add("fetch_wait_seconds", time.monotonic() - began)
        return data

    def _wait_for(self, shard: int) -> None:
        began = time.monotonic()
        try:
            self._bring(shard)
        finally:
            self.counters.add("fetch_wait_seconds", time.monotonic() - began)

    def _bring(self, shard: int) -> None:
        """Have a shard, and its index, in the cache."""
        self._table.indexes.prepare([shard])
        _, fetched = self.cache.get(self._shards.store, self._wanted(shard), self.counters, self._stop)
        self.counters.add("cache_misses" if fetched else "cache_hits")
        self._present.add(shard)

    def _leave(self, shard: int) -> None:
        """Let go of a shard: a file that is open takes room on the disk also when it has been removed."""
        self._present.discard(shard)
        path = self._path(shard)
        self._files.forget(path)
        self.cache.leave(path)

    def _wanted(self, shard: int) -> Wanted:
        entry = self._shards.catalogue.entry(shard)
        return Wanted(entry.name, entry.tar_bytes, entry.sha256)

    def _path(self, shard: int) -> Path:
        found = self._paths.get(shard)
        if found is None:
            found = self._paths[shard] = self.cache.path_of(self._wanted(shard))
        return found

    def _indexes(self, stop: Event) -> _RemoteIndexes:
        return _RemoteIndexes(self._shards, self.cache, self.counters, stop)

    def _begin(self) -> None:
        """What belongs to this process."""
        self._stop, self._early = Event(), _Early(self.counters, math.inf)
        self._anew: set[int] = set()
        self._present: set[int] = set()
        self._paths: dict[int, Path] = {}
        names = short_names(list(self._shards.catalogue.names))
        self._table = ShardTable(self.shard_sizes, names, self._indexes(self._stop))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _OF_THIS_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()


class _Early:
    """How much may still be read by range: so many bytes first, and a share of what is fetched whole. Used by many threads."""

    def __init__(self, counters: Counters, first_bytes: float) -> None:
        self.counters, self.first_bytes, self._taken, self._lock = counters, first_bytes, 0, Lock()
        self._before = self._whole()

    def _whole(self) -> float:
        return self.counters.get("fetched_bytes") - self.counters.get("ranged_bytes")

    def allows(self, size: int) -> bool:
        """Whether a sample of that size may; if so, it is counted."""
        with self._lock:
            if self._taken + size > self.first_bytes + EARLY_SHARE * max(0, self._whole() - self._before):
                return False
            self._taken += size
            return True


class _RemoteIndexes:
    """The indexes beside remote shards, through the cache; or those in a local folder."""

    def __init__(self, shards: Shards, cache: ShardCache, counters: Counters, stop: Event) -> None:
        self.shards, self.cache, self.counters, self.stop = shards, cache, counters, stop

    def load(self, shard: int, trusted: bool) -> ShardIndex:
        digest = self.shards.catalogue.digest(shard)
        for last in (False, True):
            path = self._fetched(shard)
            try:
                found, _ = read_index_file(path, trusted)
                if found.digest == digest:
                    return found
                problem = "not that of the catalogue"
            except OSError as error:
                problem = error.strerror or str(error)
            except ValueError as error:
                problem = str(error)
            if last or self.shards.indexes:
                break
            self.cache.drop(self._wanted(shard))
        raise DataError(f"{self._name(shard)}: {problem}: write it again with viewmill pack --index-only")

    def prepare(self, shards: Sequence[int]) -> None:
        if self.shards.indexes:
            return
        missing = [shard for shard in shards if self.cache.find(self._wanted(shard)) is None]
        if len(missing) == 1:
            self._fetched(missing[0])
        elif missing:
            with ThreadPoolExecutor(min(_INDEXES_AT_ONCE, len(missing)), "viewmill-index") as pool:
                list(pool.map(self._fetched, missing))

    def _fetched(self, shard: int) -> Path:
        if self.shards.indexes:
            return Path(self._name(shard))
        wanted = self._wanted(shard)
        return self.cache.find(wanted) or self.cache.get(self.shards.store, wanted, self.counters, self.stop)[0]

    def _name(self, shard: int) -> str:
        url = self.shards.catalogue.names[shard]
        return f"{self.shards.indexes}/{url.rpartition('/')[2]}{INDEX_SUFFIX}" if self.shards.indexes else f"{url}{INDEX_SUFFIX}"

    def _wanted(self, shard: int) -> Wanted:
        entry = self.shards.catalogue.entry(shard)
        return Wanted(f"{entry.name}{INDEX_SUFFIX}", entry.index_bytes or -1)


def _gb(count: int) -> str:
    return f"{count / 1e9:.3g} GB"
