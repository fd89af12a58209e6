"""Shards fetched before the stream needs them, in the order in which it will, as far as the cache has room."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator
from threading import Event

import numpy as np

from ..faults import DataError
from ..needs import Need, needs
from ..order import Order
from .trouble import Trouble

_PAUSE_S = 1.0
"""After a shard that could not be had: whoever needs it says so, and the next one may fare no better."""


class Ahead:
    """Threads that bring the shards of one rank's stream from a position on, epoch after epoch, until closed.

    bring(shard): have it at hand; leave(shard): the stream is through with it, for now. shard_bytes (S,). Those brought and not
    yet left take most_bytes at most, though one always is.
    """

    def __init__(self, order: Order, epoch: int, rank: int, world_size: int, delivered: int, length: int, shard_bytes: np.ndarray,
                 most_bytes: int, connections: int, bring: Callable[[int], None], leave: Callable[[int], None],
                 stop: Event) -> None:
        self.most_bytes, self.held_bytes = most_bytes, 0
        self._shard_bytes, self._bring, self._leave, self._stop = shard_bytes, bring, leave, stop
        self._reached = (epoch, delivered)
        self._needs = self._all_needs(order, epoch, rank, world_size, delivered, length)
        self._next: tuple[int, Need] | None = None
        self._until: dict[int, tuple[int, int]] = {}  # of each shard that is held: the last place that may need it
        self._ends: list[tuple[int, int, int]] = []  # the same as a heap of (epoch, position, shard); some are out of date
        self._moved = threading.Condition()
        self.threads = [threading.Thread(target=self._run, name=f"viewmill-fetch-{i}", daemon=True) for i in range(connections)]
        for thread in self.threads:
            thread.start()

    def reached(self, epoch: int, delivered: int) -> None:
        """All positions of that epoch before `delivered`, and all earlier epochs, have been read."""
        with self._moved:
            new_epoch = epoch != self._reached[0]
            self._reached = (epoch, delivered)
            left = []
            while self._ends and self._ends[0][:2] < self._reached:
                ended = heapq.heappop(self._ends)
                shard = ended[2]
                if self._until.get(shard) == ended[:2]:
                    del self._until[shard]
                    self.held_bytes -= int(self._shard_bytes[shard])
                    left.append(shard)
            if left or new_epoch:  # waking all threads after each small batch would take a tenth of the time
                self._moved.notify_all()
        for shard in left:
            self._leave(shard)

    def close(self) -> None:
        """Nothing waits for the threads: a transfer under way ends with its next piece."""
        self._stop.set()
        with self._moved:
            self._moved.notify_all()

    def _run(self) -> None:
        while (shard := self._claim()) is not None:
            try:
                self._bring(shard)
            except (DataError, Trouble):  # reading will say what is wrong
                self._stop.wait(_PAUSE_S)

    def _claim(self) -> int | None:
        """The next shard that is not held yet; waits for room. None when closed."""
        with self._moved:
            while not self._stop.is_set():
                if self._next is None:
                    self._next = next(self._needs)
                epoch, need = self._next
                if need.shard in self._until:
                    if self._near(epoch):
                        self._hold(epoch, need)
                        continue
                elif self._has_room(need.shard) and self._near(epoch):
                    self.held_bytes += int(self._shard_bytes[need.shard])
                    self._hold(epoch, need)
                    return need.shard
                self._moved.wait()
        return None

    def _near(self, epoch: int) -> bool:
        """Not further than the next epoch: where the cache has room for all shards, there is no end of needs."""
        return epoch <= self._reached[0] + 1

    def _has_room(self, shard: int) -> bool:
        return not self._until or self.held_bytes + int(self._shard_bytes[shard]) <= self.most_bytes

    def _hold(self, epoch: int, need: Need) -> None:
        self._next = None
        end = (epoch, need.until)
        if end > self._until.get(need.shard, (-1, -1)):
            self._until[need.shard] = end
            heapq.heappush(self._ends, (*end, need.shard))

    @staticmethod
    def _all_needs(order: Order, epoch: int, rank: int, world_size: int, delivered: int,
                   length: int) -> Iterator[tuple[int, Need]]:
        while True:
            yield from ((epoch, need) for need in needs(order, epoch, rank, world_size, delivered, length))
            epoch, delivered = epoch + 1, 0


def least_bytes(order: Order, shard_bytes: np.ndarray, ranks: range, world_size: int, connections: int) -> int:
    """What a cache must hold so that those ranks, which share it, fetch no shard of a window twice.

    Of "lanes": the shards of one window, and one more, of each of their lanes. Of "full": everything. Of "none": two shards of
    each rank. And as many more as are under way, unless that is everything.
    """
    total, largest = int(shard_bytes.sum()), int(shard_bytes.max())
    if order.shuffle == "full":
        return total
    if order.shuffle == "none":
        return min(total, (2 + connections) * largest * len(ranks))
    shared = int(np.gcd(world_size, order.lanes))
    lanes = len({rank % shared for rank in ranks}) * (order.lanes // shared)
    mean = total / max(1, int(np.count_nonzero(shard_bytes)))
    return max(largest, min(total, round((lanes * (order.window + 1) + len(ranks) * connections) * mean)))
