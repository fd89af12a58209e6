"""Which pictures a step learns from, and making them ready ahead of it, in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

import numpy as np

from ...augment.philox import uniforms
from ...models.training.process import World
from ...pipelines.permutation import permute, round_keys

Made = TypeVar("Made")
AHEAD = 2  # steps


class Feed(Generic[Made]):
    """Of `count` pictures, an epoch after another, each in an order of its own: a pure function of the seed and the step, so that
    a run that goes on sees what it would have seen. Where the last step of an epoch lacks pictures, the next epoch's first ones
    fill it. make: from (epoch, picture's number) to what a step wants; it raises what the step will raise."""

    def __init__(self, count: int, batch_size: int, seed: int, world: World, make: Callable[[int, int], Made],
                 pool: ThreadPoolExecutor) -> None:
        self.count, self.batch_size, self.seed, self.world = count, batch_size, seed, world
        self.make, self._pool = make, pool
        self._ahead: dict[int, list[Future[Made]]] = {}

    def step(self, number: int) -> list[Made]:
        """This rank's share of step `number`, from 0."""
        for each in range(number, number + 1 + AHEAD):
            if each not in self._ahead:
                self._ahead[each] = [self._pool.submit(self.make, *place) for place in self.places(each)]
        return [made.result() for made in self._ahead.pop(number)]

    def places(self, number: int) -> list[tuple[int, int]]:
        """(epoch, picture) of this rank's share of a step."""
        share = self.batch_size // self.world.size
        first = number * self.batch_size + self.world.rank * share
        return [(place // self.count, self._picture(place // self.count, place % self.count))
                for place in range(first, first + share)]

    def _picture(self, epoch: int, position: int) -> int:
        keys = round_keys(self.seed, epoch, np.zeros(1, np.int64), "dense")[0]
        return int(permute(np.array([position], np.int64), self.count, keys)[0])


@contextmanager
def pool_of(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Whose threads begin nothing new once it is left."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def drawn(seed: int, epoch: int, picture: int, name: str, count: int) -> list[float]:
    """Numbers in [0, 1) for one picture of an epoch, by the name of what they are for."""
    return [float(u) for u in uniforms(seed, epoch, np.array([picture], np.int64), f"dense/{name}", count)[0]]
