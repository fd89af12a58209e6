"""Shards come before the stream needs them, and no more of them than there is room for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from threading import Event

import numpy as np
import pytest
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.needs import needs
from viewmill.pipelines.order import Order
from viewmill.pipelines.remote.ahead import Ahead, least_bytes


class Brought:
    """What an Ahead brought and left, in order."""

    def __init__(self, order: Order, most: int, rank: int = 0, world: int = 1, bad: frozenset[int] = frozenset(),
                 connections: int = 1) -> None:
        self.brought: list[int] = []
        self.left: list[int] = []
        self.stop, self.bad = Event(), bad
        tens = np.full(len(order.shard_sizes), 10)
        self.ahead = Ahead(order, 0, rank, world, 0, len(order), tens, most, connections, self.bring, self.left.append, self.stop)

    def bring(self, shard: int) -> None:
        if shard in self.bad:
            raise DataError("gone")
        self.brought.append(shard)


def until(true: Callable[[], bool]) -> None:
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < 20
        time.sleep(0.005)


def settled(made: Brought) -> list[int]:
    before = -1
    while before != len(made.brought):
        before = len(made.brought)
        time.sleep(0.1)
    return made.brought


def test_shards_come_in_the_order_of_need_as_far_as_there_is_room() -> None:
    order = Order([5] * 20, 0, shuffle="none")
    made = Brought(order, most=45)  # four shards of ten bytes
    until(lambda: len(made.brought) == 4)
    assert settled(made) == [0, 1, 2, 3] and made.left == []
    made.ahead.reached(0, 4)
    assert settled(made) == [0, 1, 2, 3], "the last sample of shard 0 has not been read"
    made.ahead.reached(0, 5)
    until(lambda: len(made.brought) == 5)
    assert made.left == [0] and made.ahead.held_bytes == 40
    made.ahead.reached(0, 13)
    until(lambda: len(made.brought) == 6)
    assert made.brought == [0, 1, 2, 3, 4, 5] and made.left == [0, 1]
    made.ahead.close()


def test_the_next_epoch_follows_and_then_it_waits() -> None:
    order = Order([5] * 3, 0, shuffle="none")
    made = Brought(order, most=1000)
    until(lambda: len(made.brought) == 3)
    assert settled(made) == [0, 1, 2], "what is there for this epoch is there for the next"
    made.ahead.reached(0, 15)
    assert made.left == [], "the next epoch needs them"
    made.ahead.reached(1, 1)
    assert settled(made) == [0, 1, 2]
    made.ahead.reached(1, 15)
    assert made.left == [], "nor is the one after it begun anew"
    made.ahead.close()


def test_one_shard_is_always_brought_however_small_the_room() -> None:
    made = Brought(Order([5] * 3, 0, shuffle="none"), most=1)
    assert settled(made) == [0]
    made.ahead.reached(0, 5)
    until(lambda: made.brought == [0, 1])
    made.ahead.close()


@pytest.mark.parametrize("world", [1, 2, 3])
def test_all_that_a_rank_needs_is_brought_before_it_is_left(world: int) -> None:
    order = Order([7] * 24, 3, lanes=4, window=2, shuffle="lanes")
    for rank in range(world):
        made = Brought(order, most=24 * 10, rank=rank, world=world, connections=3)
        wanted = {need.shard for need in needs(order, 0, rank, world, 0, len(order))}
        until(lambda made=made, wanted=wanted: wanted <= set(made.brought))  # type: ignore[misc]
        made.ahead.close()


def test_a_shard_that_cannot_be_had_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viewmill.pipelines.remote.ahead._PAUSE_S", 0.0)
    made = Brought(Order([5] * 6, 0, shuffle="none"), most=60, bad=frozenset([1, 3]))
    until(lambda: made.brought == [0, 2, 4, 5])
    made.ahead.close()


def test_closing_ends_the_threads() -> None:
    made = Brought(Order([5] * 6, 0, shuffle="none"), most=20, connections=4)
    threads = made.ahead.threads
    assert len(threads) == 4 and all(isinstance(thread, threading.Thread) for thread in threads)
    made.ahead.close()
    until(lambda: not any(thread.is_alive() for thread in threads))


def test_the_room_that_an_order_needs() -> None:
    bytes_each = np.full(1000, 100)
    lanes = Order([10] * 1000, 0, lanes=16, window=4, shuffle="lanes")
    assert least_bytes(lanes, bytes_each, range(1), 1, 2) == (16 * 5 + 2) * 100
    assert least_bytes(lanes, bytes_each, range(1), 4, 2) == (4 * 5 + 2) * 100, "one of four ranks serves four of the lanes"
    assert least_bytes(lanes, bytes_each, range(2), 4, 3) == (8 * 5 + 6) * 100
    assert least_bytes(lanes, bytes_each, range(8), 64, 1) == (8 * 5 + 8) * 100, "of 64 ranks, four share a lane; these do not"
    assert least_bytes(lanes, bytes_each, range(1), 3, 2) == (16 * 5 + 2) * 100, "three ranks all meet every lane"
    assert least_bytes(Order([10] * 1000, 0), bytes_each, range(1), 4, 2) == 100_000
    assert least_bytes(Order([10] * 1000, 0, shuffle="none"), bytes_each, range(2), 4, 3) == 2 * 5 * 100
    few = Order([10] * 20, 0, lanes=16, window=4, shuffle="lanes")
    assert least_bytes(few, np.full(20, 100), range(1), 1, 2) == 2000, "never more than all"
    assert least_bytes(few, np.array([5000] + [1] * 19), range(1), 16, 2) == 5000, "never less than the largest"
