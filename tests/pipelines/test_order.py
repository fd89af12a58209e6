"""The order of samples: each exactly once an epoch, shards of a rank few and near, stand-ins from the neighbourhood."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from viewmill.pipelines.order import Order

LAYOUTS = st.lists(st.integers(0, 30), min_size=1, max_size=30).filter(any)
SHUFFLES = st.sampled_from(["full", "lanes", "none"])
ORDERS = st.builds(Order, LAYOUTS, st.integers(0, 2**64 - 1), lanes=st.integers(1, 300), window=st.integers(1, 20),
                   shuffle=SHUFFLES)


def whole(order: Order, epoch: int = 0) -> np.ndarray:
    return order.index(epoch, np.arange(len(order)))


def shard_of(order: Order, index: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.cumsum(order.shard_sizes), index, side="right")


@settings(max_examples=150, deadline=None)
@given(ORDERS, st.integers(0, 2**32 - 1))
def test_an_epoch_has_each_sample_exactly_once(order: Order, epoch: int) -> None:
    assert np.array_equal(np.sort(whole(order, epoch)), np.arange(len(order)))


@settings(max_examples=40, deadline=None)
@given(ORDERS, st.integers(1, 8))
def test_any_part_asked_for_alone_is_the_part_of_the_whole(order: Order, world: int) -> None:
    everything = whole(order, 3)
    for rank in range(world):
        assert np.array_equal(order.index(3, np.arange(rank, len(order), world)), everything[rank::world])


def test_none_is_the_order_of_the_data() -> None:
    assert whole(Order([3, 0, 4], 0, shuffle="none"), 5).tolist() == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("shuffle", ["full", "lanes"])
def test_epochs_and_seeds_differ(shuffle: str) -> None:
    orders = [whole(Order([100] * 50, seed, shuffle=shuffle), epoch) for seed in (0, 1, 2) for epoch in (0, 1)]
    for i, a in enumerate(orders):
        for b in orders[:i]:
            assert (a == b).mean() < 0.01


@pytest.mark.parametrize("shuffle", ["full", "lanes"])
def test_every_sample_comes_first_equally_often(shuffle: str) -> None:
    """Chi-square over 960 epochs of 12 samples, 80 expected each: 11 degrees of freedom, 31.3 at one in a thousand."""
    order = Order([5, 0, 4, 3], 1, lanes=3, window=2, shuffle=shuffle)
    first = np.bincount([order.index(epoch, np.array([0]))[0] for epoch in range(960)], minlength=12)
    assert ((first - 80.0) ** 2 / 80).sum() < 31.3


class TestLanes:
    """40 shards of 10 samples, 8 lanes: a lane is 50 samples, the contents of 5 shards, or of 4 and parts of 2."""

    order = Order([10] * 40, 7, lanes=8, window=2, shuffle="lanes")

    def lane(self, number: int, epoch: int = 0) -> np.ndarray:
        return self.order.index(epoch, np.arange(number, 400, 8))

    def test_a_lane_is_a_stretch_of_the_sequence_of_shards(self) -> None:
        for number in range(8):
            shards, samples = np.unique(shard_of(self.order, self.lane(number)), return_counts=True)
            assert len(shards) in (5, 6) and (samples == 10).sum() >= 4

    def test_positions_at_one_time_touch_few_shards_of_a_lane(self) -> None:
        """50 samples are three windows of 17, 17, 16 (two shards, 20 samples, at most): each within three shards. Lane 4's first
        is one of four eighths of 16 samples, 8, and its last the rest of it."""
        for number, cuts in ((0, (17, 34)), (4, (8, 25, 42))):
            lane = shard_of(self.order, self.lane(number))
            assert all(len(np.unique(part)) <= 3 for part in np.split(lane, cuts))

    def test_lanes_come_to_new_shards_one_after_the_other(self) -> None:
        """Shards of 10 in windows of 20: few lanes leave a shard behind at the same step, and none all of them together."""
        last = np.concatenate([np.unique(shard_of(self.order, self.lane(number))[::-1], return_index=True)[1]
                               for number in range(8)])
        assert np.bincount(49 - last[last > 0], minlength=50).max() <= 4

    def test_samples_of_a_window_are_mixed(self) -> None:
        """Neither in the order of their shard, nor shard after shard."""
        first = self.lane(3)[:14]
        shards = shard_of(self.order, first)
        assert any((np.diff(first[shards == each]) < 0).any() for each in np.unique(shards))
        assert (np.diff(shards) != 0).sum() > 2

    def test_shards_move_between_lanes_from_epoch_to_epoch(self) -> None:
        assert set(shard_of(self.order, self.lane(0, 0))) != set(shard_of(self.order, self.lane(0, 1)))

    def test_the_shards_of_a_lane_are_not_neighbours_in_the_data(self) -> None:
        for epoch in range(3):
            shards = np.unique(shard_of(self.order, self.lane(0, epoch)))
            assert np.ptp(shards) > 2 * len(shards)

    def test_a_batch_of_as_many_samples_as_lanes_has_one_from_each(self) -> None:
        stretches = [set(self.lane(number).tolist()) for number in range(8)]
        for sample, stretch in zip(self.order.index(0, np.arange(80, 88)).tolist(), stretches, strict=True):
            assert sample in stretch


@pytest.mark.parametrize("world", [2, 4, 8, 16])
def test_a_rank_reads_little_more_than_its_share_of_the_shards(world: int) -> None:
    """100 shards of uneven size, 16 lanes. All ranks together read each shard once, and those again that lie on a border
    between ranks: at most `world`, on a ring, although there are 16 borders between lanes."""
    sizes = np.random.default_rng(0).integers(20, 60, 100)
    order = Order(sizes, 3, lanes=16, shuffle="lanes")
    read = [len(np.unique(shard_of(order, order.index(0, np.arange(rank, len(order), world))))) for rank in range(world)]
    assert 100 <= sum(read) <= 100 + world


def test_more_lanes_than_samples_are_as_many_as_samples() -> None:
    order = Order([2, 3], 0, lanes=256, shuffle="lanes")
    assert order.lanes == 5 and sorted(whole(order).tolist()) == [0, 1, 2, 3, 4]


def test_a_billion_samples_need_no_array_of_their_length() -> None:
    for shuffle in ("full", "lanes"):
        order = Order([10_000_000] * 100, 0, shuffle=shuffle)
        position = np.arange(10**9 - 5000, 10**9)
        index = order.index(0, position)
        assert len(np.unique(index)) == 5000 and 0 <= index.min() <= index.max() < 10**9
        assert len(pickle.dumps(order)) < 20_000


class TestStandIns:
    @settings(max_examples=100, deadline=None)
    @given(ORDERS, st.integers(0, 10), st.integers(0, 40), st.data())
    def test_are_different_never_the_sample_itself_and_always_the_same(self, order: Order, epoch: int, count: int,
                                                                       data: st.DataObject) -> None:
        position = data.draw(st.integers(0, len(order) - 1))
        chosen = order.stand_ins(epoch, position, count)
        assert chosen.dtype == np.int64
        assert len(set(chosen.tolist())) == len(chosen) == min(count, len(order) - 1)
        assert ((chosen >= 0) & (chosen < len(order))).all()
        assert order.index(epoch, np.array([position]))[0] not in chosen
        assert np.array_equal(chosen, pickle.loads(pickle.dumps(order)).stand_ins(epoch, position, count))

    def test_come_from_the_window_first(self) -> None:
        """Lanes of 50; lane 3 begins with seven eighths of a window of 16, 14 samples, the 13 others of which are the first
        stand-ins."""
        order = Order([10] * 40, 7, lanes=8, window=2, shuffle="lanes")
        window = set(order.index(0, np.arange(3, 3 + 14 * 8, 8)).tolist())
        position = 3 + 5 * 8
        own = int(order.index(0, np.array([position]))[0])
        chosen = order.stand_ins(0, position, 20).tolist()
        assert set(chosen[:13]) == window - {own} and not set(chosen[13:]) & window

    def test_fewer_are_the_beginning_of_more(self) -> None:
        order = Order([10] * 40, 7, lanes=8, window=2, shuffle="lanes")
        assert order.stand_ins(2, 11, 30)[:5].tolist() == order.stand_ins(2, 11, 5).tolist()

    def test_differ_between_positions_and_epochs(self) -> None:
        order = Order([1000], 0)
        chosen = {tuple(order.stand_ins(epoch, position, 3).tolist()) for epoch in range(5) for position in range(20)}
        assert len(chosen) == 100

    def test_of_a_full_shuffle_all_others_are_equally_likely(self) -> None:
        """Chi-square over 880 epochs of 11 samples at one position, 80 expected each: 10 degrees of freedom, 29.6."""
        order = Order([11], 5)
        drawn = np.bincount([order.stand_ins(epoch, 4, 1)[0] for epoch in range(880)], minlength=11)
        assert ((drawn - 80.0) ** 2 / 80).sum() < 29.6


@pytest.mark.parametrize(("shards", "options", "message"), [
    ([], {}, "one sample at least, got 0 shards with 0 samples"),
    ([0, 0], {}, "one sample at least, got 2 shards with 0 samples"),
    ([3, -1], {}, "shards of 0 or more samples"),
    ([3], {"shuffle": "half"}, "shuffle needs one of full, lanes, none, got 'half'"),
    ([3], {"lanes": 0}, "lanes needs a whole number >= 1, got 0"),
    ([3], {"window": 0}, "window needs a whole number >= 1, got 0"),
    ([3], {"seed": -1}, r"seed needs 0 <= seed < 2\*\*64, got -1"),
])
def test_what_cannot_work_is_refused(shards: list[int], options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Order(shards, **{"seed": 0, **options})


def test_a_position_outside_the_epoch_is_refused() -> None:
    for position in (-1, 7):
        with pytest.raises(ValueError, match=r"0 <= position < 7, the samples of an epoch"):
            Order([3, 4], 0, shuffle="lanes").index(0, np.array([0, position]))
