"""Which pictures a step takes: every one of an epoch once, whoever asks, whenever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from viewmill.evaluation.dense.feed import Feed, drawn, pool_of
from viewmill.models.training.process import World


def feed(pool: ThreadPoolExecutor, rank: int = 0, ranks: int = 1, seed: int = 0) -> Feed[tuple[int, int]]:
    world = World(rank, ranks, rank, ranks, torch.device("cpu"))
    return Feed(10, 4, seed, world, lambda epoch, number: (epoch, number), pool)


def test_an_epoch_shows_each_picture_once_and_the_next_begins_within_a_step() -> None:
    with pool_of(2) as pool:
        one = feed(pool)
        seen = [place for step in range(5) for place in one.step(step)]
        assert [epoch for epoch, _ in seen] == [0] * 10 + [1] * 10
        orders = [[number for epoch, number in seen if epoch == each] for each in (0, 1)]
        assert sorted(orders[0]) == sorted(orders[1]) == list(range(10)) and orders[0] != orders[1]
        assert [number for _, number in feed(pool, seed=1).step(0)] != orders[0][:4]


def test_a_feed_that_begins_later_and_ranks_that_share_see_the_same() -> None:
    with pool_of(2) as pool:
        whole = feed(pool)
        steps = [whole.step(step) for step in range(4)]
        assert feed(pool).step(3) == steps[3]
        ranks = [feed(pool, rank, 2) for rank in range(2)]
        assert [ranks[0].step(step) + ranks[1].step(step) for step in range(4)] == steps


def test_what_making_raises_the_step_raises() -> None:
    def make(epoch: int, number: int) -> int:
        raise ValueError("x.jpg cannot be read")

    with pool_of(1) as pool, pytest.raises(ValueError, match=r"x.jpg cannot be read"):
        Feed(3, 1, 0, World(0, 1, 0, 1, torch.device("cpu")), make, pool).step(0)


def test_draws_are_told_apart_by_name_picture_epoch_and_seed() -> None:
    places = [(0, 0, 0, "a"), (1, 0, 0, "a"), (0, 1, 0, "a"), (0, 0, 1, "a"), (0, 0, 0, "b")]
    found = [tuple(drawn(*place, 3)) for place in places]
    assert len(set(found)) == 5 and found[0] == tuple(drawn(0, 0, 0, "a", 3))
    assert all(0 <= u < 1 for each in found for u in each)
