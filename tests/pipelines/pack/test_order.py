"""Which sample goes into which shard."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from viewmill.pipelines.pack.order import cut, shuffled, shuffled_in_blocks, taken_before

SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=200)


def test_shards_are_cut_where_the_next_sample_would_not_fit() -> None:
    assert cut(np.array([4, 4, 4, 9, 1, 20, 3]), 10).tolist() == [2, 3, 5, 6, 7]
    assert cut(np.array([1, 1, 1, 1, 1]), 10, 2).tolist() == [2, 4, 5]
    assert cut(np.array([5, 5]), 10).tolist() == [2]


@given(SIZES, st.integers(1, 120), st.integers(0, 7))
def test_every_sample_is_in_one_shard_and_no_shard_could_take_one_more(sizes: list[int], most: int, count: int) -> None:
    ends = cut(np.array(sizes), most, count).tolist()
    starts = [0, *ends[:-1]]
    assert ends[-1] == len(sizes) and all(start < end for start, end in zip(starts, ends, strict=True))
    for start, end in zip(starts, ends, strict=True):
        inside = sizes[start:end]
        assert sum(inside) <= most or len(inside) == 1
        assert not count or len(inside) <= count
        if end < len(sizes) and not (count and len(inside) == count):
            assert sum(inside) + sizes[end] > most


@given(st.integers(1, 300), st.integers(0, 2**64 - 1))
def test_a_shuffle_has_every_sample_once_and_depends_on_the_seed_alone(count: int, seed: int) -> None:
    order = shuffled(count, seed)
    assert sorted(order.tolist()) == list(range(count)) and order.tolist() == shuffled(count, seed).tolist()


def test_another_seed_is_another_order() -> None:
    assert shuffled(100, 0).tolist() != shuffled(100, 1).tolist() != list(range(100))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 200), st.integers(0, 99))
def test_blocks_stay_within_a_window(blocks: list[int], window: int, seed: int) -> None:
    count = sum(blocks)
    order = shuffled_in_blocks(np.array(blocks), np.full(count, 10), window, seed)
    assert sorted(order.tolist()) == list(range(count))
    block = np.repeat(np.arange(len(blocks)), blocks)[order]
    for each in range(len(blocks)):
        at = np.flatnonzero(block == each)
        others = set(block[at[0]:at[-1] + 1].tolist()) - {each}  # a window is full with the block that fills it
        assert sum(blocks[b] for b in others) * 10 <= window + 10 * (max(blocks) + blocks[each])


def test_of_equal_hashes_the_first_counts_none_before() -> None:
    assert taken_before(np.array([7, 3, 7, 7, 3, 1], np.uint64)).tolist() == [0, 0, 1, 2, 1, 0]
    assert taken_before(np.zeros(0, np.uint64)).tolist() == []
