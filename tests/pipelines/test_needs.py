"""What a rank will need, told before it is read: nothing missing, nothing early, nothing late."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from viewmill.pipelines.needs import Need, needs
from viewmill.pipelines.order import Order

LAYOUTS = st.lists(st.integers(0, 30), min_size=1, max_size=30).filter(any)


def shard_of(order: Order, index: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.cumsum(order.shard_sizes), index, side="right")


@st.composite
def streams(draw: st.DrawFn, shuffles: tuple[str, ...]) -> tuple[Order, int, int, int, int]:
    """An order, and rank, world_size, delivered and length of a stream in it."""
    order = Order(draw(LAYOUTS), draw(st.integers(0, 9)), lanes=draw(st.integers(1, 40)), window=draw(st.integers(1, 5)),
                  shuffle=draw(st.sampled_from(shuffles)))
    world = draw(st.integers(1, 12))
    length = draw(st.integers(0, len(order)))
    return order, draw(st.integers(0, world - 1)), world, draw(st.integers(0, length)), length


@settings(max_examples=200, deadline=None)
@given(streams(("full", "lanes", "none")), st.integers(0, 3))
def test_every_sample_of_a_rank_lies_in_a_shard_that_was_told_for_its_position(stream: tuple, epoch: int) -> None:
    order, rank, world, delivered, length = stream
    told = list(needs(order, epoch, rank, world, delivered, length))
    own = np.arange(delivered + rank, length, world)
    for position, shard in zip(own.tolist(), shard_of(order, order.index(epoch, own)).tolist(), strict=True):
        assert any(need.shard == shard and need.position <= position <= need.until for need in told)
    assert [need.position for need in told] == sorted(need.position for need in told)
    assert {each for need in told for each in (need.position, need.until)} <= set(own.tolist())
    assert all(order.shard_sizes[need.shard] > 0 for need in told)


@settings(max_examples=150, deadline=None)
@given(streams(("lanes",)), st.integers(0, 3))
def test_of_lanes_each_window_is_told_from_its_first_position_to_its_last(stream: tuple, epoch: int) -> None:
    """By brute force: of each window that the rank's positions meet, the shards of all its samples."""
    order, rank, world, delivered, length = stream
    own = np.arange(delivered + rank, length, world)
    everything = np.arange(len(order))
    window, shard = order.cut.at(everything).start, shard_of(order, order.index(epoch, everything))
    expected = set()
    for start in set(window[own].tolist()):
        mine = own[window[own] == start].tolist()
        expected |= {(mine[0], each, mine[-1]) for each in shard[window == start].tolist()}
    found = list(needs(order, epoch, rank, world, delivered, length))
    assert set(found) == expected
    assert len(found) == len({(need.shard, window[need.position]) for need in found})


@settings(max_examples=60, deadline=None)
@given(LAYOUTS, st.integers(0, 9), st.integers(1, 6), st.integers(1, 4))
def test_a_whole_epoch_of_ranks_with_lanes_of_their_own_needs_only_what_it_uses(layout: list[int], seed: int, each: int,
                                                                                world: int) -> None:
    order = Order(layout, seed, lanes=each * world, window=2, shuffle="lanes")
    if order.lanes % world:
        return
    for rank in range(world):
        own = np.arange(rank, len(order), world)
        used = set(zip(order.cut.at(own).start.tolist(), shard_of(order, order.index(1, own)).tolist(), strict=True))
        told = [(int(order.cut.at(np.array([need.position])).start[0]), need.shard)
                for need in needs(order, 1, rank, world, 0, len(order))]
        assert sorted(told) == sorted(used)


@settings(max_examples=80, deadline=None)
@given(streams(("none",)))
def test_in_the_order_of_the_data_a_shard_is_told_where_it_is_used(stream: tuple) -> None:
    order, rank, world, delivered, length = stream
    own = np.arange(delivered + rank, length, world)
    shard = shard_of(order, own)
    assert list(needs(order, 0, rank, world, delivered, length)) == [
        (own[shard == each][0], each, own[shard == each][-1]) for each in np.unique(shard)]


def test_a_full_shuffle_needs_all_shards_at_once() -> None:
    assert list(needs(Order([3, 0, 4], 1), 2, 1, 2, 0, 7)) == [Need(1, 0, 5), Need(1, 2, 5)]


def test_nothing_is_left_at_an_epochs_end() -> None:
    order = Order([10] * 4, 0, lanes=4, shuffle="lanes")
    assert list(needs(order, 0, 0, 1, 40, 40)) == [] and list(needs(order, 0, 3, 4, 38, 40)) == []


@pytest.mark.parametrize(("world", "lanes"), [(8, 2), (6, 8), (512, 1), (96, 1), (5, 16)])
def test_ranks_that_share_lanes_with_others_keep_to_few(world: int, lanes: int) -> None:
    """Of sixteen lanes each of eight ranks has two, of six (2 is a divisor of both) eight, of 512 one that 32 of them share."""
    order = Order([100] * 160, 3, lanes=16, window=2, shuffle="lanes")
    told = list(needs(order, 0, 1, world, 0, len(order)))
    assert len({need.position % 16 for need in told}) == lanes


def test_a_hundred_thousand_shards_are_told_as_they_are_asked_for() -> None:
    """10,000 samples in each, 64 ranks with four lanes each: the first window of each is told first, at its first step."""
    order = Order(np.full(100_000, 10_000), 0, shuffle="lanes")
    first = list(islice(needs(order, 0, 5, 64, 0, len(order)), 20))
    assert first[0].position == 5 and {need.position for need in first} <= {5, 69, 133, 197}
    later = next(needs(order, 0, 5, 64, 500_000_000, len(order)))
    assert later.position == 500_000_005 and later.until > later.position


@pytest.mark.parametrize(("rank", "world", "delivered", "length", "message"), [
    (2, 2, 0, 7, "0 <= rank < world_size, got rank=2, world_size=2"), (-1, 2, 0, 7, "got rank=-1"),
    (0, 1, 0, 8, "0 <= delivered <= length <= 7, the samples of an epoch, got delivered=0, length=8"),
    (0, 1, 4, 3, "got delivered=4, length=3"), (0, 1, -1, 3, "got delivered=-1"),
])
def test_what_cannot_be_is_refused(rank: int, world: int, delivered: int, length: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        needs(Order([3, 4], 0), 0, rank, world, delivered, length)
