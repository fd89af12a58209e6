"""Any number of ranks, changed at any step, walks epochs exactly: on plans alone, without a picture."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from viewmill.pipelines.order import Order
from viewmill.pipelines.plan import Job, Step, steps

from .streams import SMALL


@dataclass(frozen=True)
class World:
    """Ranks that take so many steps together, and are then gone."""

    ranks: int
    batch_size: int
    last: str
    steps: int

    def jobs(self, order: Order, length: int, epoch: int, delivered: int) -> list[Job]:
        common: dict[str, Any] = {
            "source": None, "order": order, "recipe": SMALL, "engine": "cpu", "dtype": "float32", "seed": 0, "threads": 1,
            "max_bad": 1.0, "batch_size": self.batch_size, "world_size": self.ranks, "length": length, "last": self.last,
            "epoch": epoch, "delivered": delivered}
        return [Job(rank=rank, **common) for rank in range(self.ranks)]


@dataclass(frozen=True)
class Walked:
    """What all ranks took in one step: their rows, and the state after it."""

    epoch: int
    begin: int
    end: int
    parts: list[Step | None]


def walk(world: World, order: Order, length: int, state: tuple[int, int], count: int) -> list[Walked]:
    """Up to `count` steps from a state (epoch, delivered), rank by rank as each of them plans alone. None: a rank of a short
    step without a sample; a loader refuses to have more ranks than an epoch of such steps has samples."""
    jobs = world.jobs(order, length, *state)[:length if world.last == "short" else None]
    first = list(islice(steps(jobs[0]), count))
    others = [{(s.epoch, s.delivered): s for s in islice(steps(job), count)} for job in jobs[1:]]
    walked = []
    epoch, begin = state
    for step in first:
        if step.epoch != epoch:
            epoch, begin = step.epoch, 0
        walked.append(Walked(epoch, begin, step.delivered, [step, *(o.get((epoch, step.delivered)) for o in others)]))
        begin = step.delivered
    return walked


def after(walked: list[Walked], length: int, state: tuple[int, int]) -> tuple[int, int]:
    if not walked:
        return state
    last = walked[-1]
    return (last.epoch + 1, 0) if last.end >= length else (last.epoch, last.end)


def of_steps(walked: list[Walked], world: World, length: int) -> list[tuple[int, int]]:
    """(epoch, position) of all that was walked, after a look at each step: its positions follow those before it, each once, the
    ranks' parts differ by one sample at most, and are padded as `last` says."""
    seen = []
    for step in walked:
        real = [np.zeros(0, np.int64) if part is None else part.position[~part.padding] for part in step.parts]
        assert sorted(np.concatenate(real).tolist()) == list(range(step.begin, step.end))
        counts = [len(rows) for rows in real]
        assert max(counts) - min(counts) <= 1 and max(counts) <= world.batch_size
        for rank, (own, part) in enumerate(zip(counts, step.parts, strict=True)):
            rows = {"short": own, "drop": max(own, 1), "pad": world.batch_size}[world.last]
            assert (0 if part is None else len(part.position)) == rows
            if part is not None:
                assert part.padding.tolist() == [False] * own + [True] * (rows - own)
                assert part.ends_epoch == (step.end + (rank if world.last == "short" else 0) >= length)
        seen += [(step.epoch, position) for position in range(step.begin, step.end)]
    return seen


WORLDS = st.builds(World, ranks=st.integers(1, 8), batch_size=st.integers(1, 5), last=st.sampled_from(["drop", "short", "pad"]),
                   steps=st.integers(0, 40))
ORDERS = st.builds(
    lambda sizes, seed, lanes, window, shuffle: Order(sizes, seed, lanes=lanes, window=window, shuffle=shuffle),
    st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(lambda sizes: sum(sizes) > 0), st.integers(0, 2**64 - 1),
    st.integers(1, 12), st.integers(1, 4), st.sampled_from(["full", "lanes", "none"]))


@settings(max_examples=250, deadline=None)
@given(order=ORDERS, worlds=st.lists(WORLDS, min_size=1, max_size=6))
def test_epochs_are_whole_whatever_worlds_walk_them(order: Order, worlds: list[World]) -> None:
    count, first = len(order), worlds[0].ranks * worlds[0].batch_size
    length = count // first * first or count if worlds[0].last == "drop" else count
    state, seen = (0, 0), []
    for world in worlds:
        walked = walk(world, order, length, state, world.steps)
        seen += of_steps(walked, world, length)
        state = after(walked, length, state)
    alone = World(1, 1, "short", 0)
    seen += of_steps(walk(alone, order, length, state, length - state[1]), alone, length)
    assert seen == [(epoch, position) for epoch in range(state[0] + 1) for position in range(length)]
    for epoch in range(state[0] + 1):
        index = order.index(epoch, np.array([p for e, p in seen if e == epoch]))
        assert len(set(index.tolist())) == length and (length < count or set(index.tolist()) == set(range(count)))


@settings(max_examples=200, deadline=None)
@given(order=ORDERS, world=WORLDS, begin=st.integers(0, 400), epoch=st.integers(0, 3))
def test_a_state_is_all_that_the_future_depends_on(order: Order, world: World, begin: int, epoch: int) -> None:
    """Walked in one go or restored after each step, in the same world, all ranks take the same rows."""
    length, state = len(order), (epoch, begin % len(order))
    at_once = walk(world, order, length, state, world.steps)
    for step in at_once:
        (again,) = walk(world, order, length, state, 1)
        assert (again.epoch, again.begin, again.end) == (step.epoch, step.begin, step.end)
        for one, other in zip(again.parts, step.parts, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert one.position.tolist() == other.position.tolist() and one.padding.tolist() == other.padding.tolist()
        state = after([again], length, state)


@pytest.mark.parametrize(("last", "rows"), [
    ("drop", [[9], [0], [1]]),  # one each: the epoch's first for whom nothing is left
    ("short", [[9], [], []]),
    ("pad", [[9, 2], [0, 3], [1, 4]]),
])
def test_the_last_sample_of_an_epoch_among_three_ranks(last: str, rows: list[list[int]]) -> None:
    order = Order([10], 0)
    (step,) = walk(World(3, 2, last, 1), order, 10, (0, 9), 1)
    assert [[] if part is None else part.position.tolist() for part in step.parts] == rows
    assert (step.begin, step.end) == (9, 10)
    assert [part is None or part.padding.tolist()[-1] for part in step.parts] == [last == "pad", True, True]
