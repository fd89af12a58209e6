"""What nodes fetch over an epoch, and how evenly ranks share it: counted by simulation of what `needs` tells them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from viewmill.pipelines.needs import Need, needs
from viewmill.pipelines.order import Order
from viewmill.pipelines.state import step_positions

RANKS = 8
"""Of a node."""


@dataclass(frozen=True)
class Fetched:
    """Of one node: shards fetched / its share of the shards; shards in use at one time, at most; shards its cache holds."""

    ratio: float
    in_use: int
    cache: int


def cache_shards(order: Order, world_size: int) -> int:
    """The smallest cache that is meant to do: of each lane that the node's ranks have, one window and a shard more."""
    return lanes_of_node(order.lanes, world_size) * (order.window + 1)


def lanes_of_node(lanes: int, world_size: int) -> int:
    """How many lanes the first RANKS ranks have together: those equal to one of them modulo gcd(world_size, lanes)."""
    shared = int(np.gcd(world_size, lanes))
    return int(np.isin(np.arange(lanes) % shared, np.arange(min(RANKS, world_size)) % shared).sum())


def fetched(order: Order, epoch: int, node: int, world_size: int) -> Fetched:
    """One epoch of a node, its cache empty at the beginning. Fetched is each shard when a need of it begins and it is not held.
    What is in use stays; of the rest that goes which was used longest ago, once the cache is full."""
    capacity, length = cache_shards(order, world_size), len(order)
    ranks = range(node * RANKS, min((node + 1) * RANKS, world_size))
    told: Iterator[Need] = heapq.merge(*(needs(order, epoch, rank, world_size, 0, length) for rank in ranks),
                                       key=lambda need: need.position)
    until: dict[int, int] = {}  # of shards that are held: the last position that needs them
    ends: list[tuple[int, int]] = []  # the same as a heap, with entries that no longer hold
    busy: dict[int, int] = {}  # of shards in use
    live: list[tuple[int, int]] = []
    count = used = 0
    for need in told:
        while live and live[0][0] < need.position:
            end, shard = heapq.heappop(live)
            if busy.get(shard) == end:
                del busy[shard]
        if need.shard not in until:
            count += 1
        if need.until > until.get(need.shard, -1):
            until[need.shard] = need.until
            heapq.heappush(ends, (need.until, need.shard))
        if need.until > busy.get(need.shard, -1):
            busy[need.shard] = need.until
            heapq.heappush(live, (need.until, need.shard))
        used = max(used, len(busy))
        while len(until) > capacity and ends[0][0] < need.position:
            end, shard = heapq.heappop(ends)
            if until.get(shard) == end:
                del until[shard]
    share = np.count_nonzero(order.shard_sizes) * len(ranks) / world_size
    return Fetched(count / share, used, capacity)


def of_all_nodes(shards: int, world_size: int, lanes: int = 256, window: int = 16, samples: int = 1000,
                 nodes: int = 8) -> Fetched:
    """The worst of up to so many nodes, evenly chosen. Shards are of equal size, so shards stand for bytes."""
    order = Order(np.full(shards, samples), 1, lanes=lanes, window=window, shuffle="lanes")
    count = -(-world_size // RANKS)
    chosen = sorted({int(node) for node in np.linspace(0, count - 1, min(count, nodes))})
    return max((fetched(order, 0, node, world_size) for node in chosen), key=lambda each: each.ratio)


def samples_of_ranks(length: int, batch_size: int, world_size: int, last: str) -> np.ndarray:
    """(world_size,): samples of each rank over an epoch of length samples, step by step, before padding."""
    step = batch_size * world_size
    end = length // step * step if last == "drop" else length
    return np.array([sum(len(step_positions(at, step, rank, world_size, end)) for at in range(0, end, step))
                     for rank in range(world_size)])


WORLDS = (1, 2, 3, 5, 7, 8, 12, 16, 24, 40, 64, 96)


def balance() -> tuple[int, int]:
    """(epochs looked at, the largest difference between two ranks' samples in any of them)."""
    worst = seen = 0
    for world in WORLDS:
        for length in (world, world + 1, 1000, 1281, 4999, 10_007):
            for batch_size in (1, 7, 32):
                for last in ("drop", "short"):
                    if length >= world:
                        worst, seen = max(worst, int(np.ptp(samples_of_ranks(length, batch_size, world, last)))), seen + 1
    return seen, worst
