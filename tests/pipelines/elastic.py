"""Restore at every step: a state is taken after each step of a run, and other worlds go on from it with exactly the rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from viewmill import Batch, Loader

from .streams import pixels


class MakeLoader(Protocol):
    """A new loader of one and the same stream; options as Loader has them."""

    def __call__(self, batch_size: int, **options: Any) -> Loader: ...


@dataclass(frozen=True)
class World:
    """Ranks that take a stream together, and how each of them makes its batches. exact: to the bit as all others."""

    ranks: int = 1
    batch_size: int = 4
    options: dict[str, Any] = field(default_factory=dict)
    exact: bool = True

    def loaders(self, make: MakeLoader, state: dict[str, Any] | None = None) -> list[Loader]:
        loaders = [make(self.batch_size, rank=rank, world_size=self.ranks, **self.options) for rank in range(self.ranks)]
        for loader in loaders:
            if state is not None:
                loader.load_state_dict(json.loads(json.dumps(state)))
        return loaders


class Shown(NamedTuple):
    """One sample as a trainer got it; drawn, pixels: digests of its parameters and of its views."""

    epoch: int
    position: int
    index: int
    key: str
    label: int
    substitute: bool
    drawn: str
    pixels: str


WORLDS = (
    World(1, 4, {"threads": 1, "prefetch": 1}),
    World(2, 3, {"threads": 3}),
    World(3, 2, {"prefetch": 4, "read_ahead_bytes": 0}),
    World(1, 5, {"channels_last": True}),
    World(5, 1),
    World(2, 2, {"engine": "torch"}, exact=False),
)
"""What a state is restored into: other ranks, threads, batches ahead, memory formats; the torch engine up to its tolerance."""


def shown(batch: Batch) -> list[Shown]:
    """All rows but padding."""
    return [Shown(batch.epoch, int(batch.position[row]), int(batch.index[row]), batch.key[row], int(batch.label[row]),
                  bool(batch.substitute[row]), drawn(batch, row), pixels(batch, row))
            for row in range(len(batch)) if not batch.padding[row]]


def drawn(batch: Batch, row: int) -> str:
    digest = hashlib.sha256()
    for view, ops in sorted(batch.params.items()):
        for op, arrays in sorted(ops.items()):
            for name, array in sorted(arrays.items()):
                digest.update(f"{view}/{op}/{name}".encode() + array[row].tobytes())
    return digest.hexdigest()


def rest(make: MakeLoader, world: World, state: dict[str, Any] | None) -> list[Shown]:
    """What all ranks of a world are shown from a state to the end of the pass, in order of epoch and position."""
    seen = []
    for loader in world.loaders(make, state):
        with loader:
            seen += [sample for batch in loader for sample in shown(batch)]
    return sorted(seen)


def assert_restorable_at_every_step(make: MakeLoader, first: World | None = None, worlds: Sequence[World] = WORLDS,
                                    every: bool = False) -> int:
    """Runs one pass in the world `first` and restores each of its states into one of the worlds, in turn, or, if `every`, into
    each. Returns how many states were restored.

    Asserts that the states of all ranks are equal after each step, JSON of one shape and under 1 KB; that what is shown after
    a restore is exactly what was not shown before it, sample by sample, parameter by parameter, pixel by pixel.
    """
    first = World() if first is None else first
    loaders = first.loaders(make)
    states, steps = [loaders[0].state_dict()], []
    for batches in zip(*loaders, strict=True):
        steps.append(sorted(sample for batch in batches for sample in shown(batch)))
        after = [loader.state_dict() for loader in loaders]
        assert all(state == after[0] for state in after)
        states.append(after[0])
    for loader in loaders:
        loader.close()
    shapes = {tuple((name, type(value)) for name, value in state.items()) for state in states}
    assert len(shapes) == 1 and all(json.loads(text) == state and len(text) < 1024
                                    for state in states for text in [json.dumps(state)])
    unbroken = [sample for step in steps for sample in step]
    assert len({(sample.epoch, sample.position) for sample in unbroken}) == len(unbroken) and sorted(unbroken) == unbroken
    restored = 0
    for number, state in enumerate(states[:-1]):
        expected = [sample for step in steps[number:] for sample in step]
        for world in worlds if every else [worlds[number % len(worlds)]]:
            found = rest(make, world, state)
            wanted = expected
            if not world.exact:
                wanted, found = ([sample._replace(pixels="") for sample in samples] for samples in (expected, found))
            assert found == wanted, f"state {state} in {world}"
            restored += 1
    return restored
