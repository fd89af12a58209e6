"""Which shards a rank's stream will need, and from when till when: what has to be fetched, before any of it is read."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from math import gcd
from typing import NamedTuple

import numpy as np

from .order import Order


class Need(NamedTuple):
    """A shard, and the first and last of a rank's positions in the epoch at which it may be needed."""

    position: int
    shard: int
    until: int


def needs(order: Order, epoch: int, rank: int, world_size: int, delivered: int, length: int) -> Iterator[Need]:
    """What a rank's positions delivered + rank, every world_size-th, before length, need in that epoch, by `position`.

    Of "lanes", each window of a lane with each of its shards, although a rank that shares the lane with others, or meets the
    window only in part, may do without one. A shard that lies in two windows comes twice. Of "full", all shards at once; of
    "none", those that are used. Nothing but one window of each of the rank's lanes is held; the lanes are those equal
    to its first position modulo the greatest common divisor of world_size and lanes. Empty shards are never needed. Positions
    that pad an epoch's last step are not told.

    Raises ValueError for an impossible rank, or delivered or length outside the epoch.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"needs: 0 <= rank < world_size, got rank={rank}, world_size={world_size}")
    if not 0 <= delivered <= length <= len(order):
        raise ValueError(f"needs: 0 <= delivered <= length <= {len(order)}, the samples of an epoch, got delivered={delivered}, "
                         f"length={length}")
    first = delivered + rank
    if first >= length:
        return iter(())
    last = first + (length - 1 - first) // world_size * world_size
    if order.shuffle == "full":
        return (Need(first, shard, last) for shard in np.flatnonzero(order.shard_sizes).tolist())
    if order.shuffle == "none":
        return _in_order(order, first, last, world_size)
    shared = gcd(world_size, order.lanes)
    lanes = (_of_lane(order, epoch, lane, first, last, world_size) for lane in range(first % shared, order.lanes, shared))
    return heapq.merge(*lanes, key=lambda need: need.position)


def _in_order(order: Order, first: int, last: int, stride: int) -> Iterator[Need]:
    """Samples as they lie: each shard's own positions, of first, first + stride .. last."""
    ends = np.cumsum(order.shard_sizes)
    for shard in range(int(np.searchsorted(ends, first, side="right")), len(ends)):
        start, end = int(ends[shard] - order.shard_sizes[shard]), int(ends[shard])
        if start > last:
            return
        low = max(first, start + (first - start) % stride)
        high = min(last, end - 1 - (end - 1 - first) % stride)
        if low <= high:
            yield Need(low, shard, high)


def _of_lane(order: Order, epoch: int, lane: int, first: int, last: int, stride: int) -> Iterator[Need]:
    """One lane's windows, as far as positions first, first + stride .. last meet them."""
    lanes, shared = order.lanes, gcd(stride, order.lanes)
    rows = stride // shared  # the rank has every rows-th step of the lane
    offset = (first - lane) // shared * pow(lanes // shared, -1, rows)  # from offset * lanes + lane = first modulo stride
    step = max(0, -(-(first - lane) // lanes))
    while (low := (step + (offset - step) % rows) * lanes + lane) <= last:
        window = order.cut.at(np.array([low]))
        step = int(window.first[0] + window.size[0])
        latest = min(last, (step - 1) * lanes + lane)
        high = latest - (latest - low) % (rows * lanes)
        for shard in order.shards_between(epoch, int(window.start[0]), int(window.size[0])).tolist():
            yield Need(low, shard, high)
