"""A position in the stream, as JSON: the same for every rank, whatever the number of ranks, threads, or the engine."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

VERSION = 2
"""2: lanes begin with a part of a window, and every second one is walked backwards; 1 meant other samples."""

_MEANING = {
    "fingerprint": "other data (or the same, changed)",
    "seed": "another seed",
    "shuffle": "another shuffle",
    "lanes": "another number of lanes",
    "window": "another window",
    "recipe": "another recipe",
    "draw_version": "draws of another version of viewmill",
}
"""What a stream is, beside its position: with any of them changed, going on would give other samples or other pixels."""


class StateError(ValueError):
    """A state that cannot be gone on from. One line."""


@dataclass(frozen=True)
class StreamState:
    """delivered: positions of the epoch that are behind all ranks. length: samples of an epoch, frozen when the run began
    (by dropping its last, incomplete global batch, or not), so that another world size walks the same epoch. lanes and
    window: as asked for. recipe, fingerprint: hashes of the recipe and the data. Raises StateError for values out of range.
    """

    epoch: int
    delivered: int
    length: int
    seed: int
    shuffle: str
    lanes: int
    window: int
    recipe: str
    draw_version: int
    fingerprint: str

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), int if field.type == "int" else str
            if not isinstance(value, kind) or isinstance(value, bool):
                raise StateError(f"state: {field.name} needs {'a whole number' if kind is int else 'text'}, got {value!r}")
        for name, low, high in (("epoch", 0, 2**32 - 1), ("length", 1, 2**63 - 1), ("delivered", 0, self.length),
                                ("seed", 0, 2**64 - 1)):
            if not low <= getattr(self, name) <= high:
                raise StateError(f"state: {name} needs {low}..{high}, got {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        """JSON: under 1 KB."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, state: Any) -> StreamState:
        """The reverse. Raises StateError for anything that to_dict does not make."""
        if not isinstance(state, dict):
            raise StateError(f"state: needs the dict that state_dict() gave, got {type(state).__name__}")
        if state.get("version") != VERSION:
            raise StateError(f"state: version {state.get('version')!r} is not known, this viewmill reads {VERSION}: "
                             "load it with the viewmill that saved it")
        names = {field.name for field in fields(cls)}
        for problem, found in (("lacks", names - set(state)), ("has unknown", set(state) - names - {"version"})):
            if found:
                raise StateError(f"state: {problem} {', '.join(sorted(map(str, found)))}: it was changed, or is not a loader's")
        return cls(**{name: state[name] for name in names})

    def check(self, here: StreamState) -> None:
        """Raises StateError where this state, a saved one, is not of the stream of `here`; its position is not compared."""
        for name, meaning in _MEANING.items():
            saved, current = getattr(self, name), getattr(here, name)
            if saved != current:
                raise StateError(f"state: was saved with {meaning}: {name} {saved!r}, here {current!r}; "
                                 "go on with what it was saved with, or start anew")


def step_positions(delivered: int, global_batch: int, rank: int, world_size: int, length: int) -> np.ndarray:
    """Positions (n,) int64 of one rank in the step that begins at `delivered`: every world_size-th up to global_batch
    positions, and only those before length. Together the ranks cover the step, each position once."""
    if not 0 <= rank < world_size or global_batch < 1:
        raise ValueError(f"a step needs 0 <= rank < world_size and global_batch >= 1, got rank={rank}, world_size={world_size}, "
                         f"global_batch={global_batch}")
    return np.arange(delivered + rank, min(delivered + global_batch, length), world_size, dtype=np.int64)


def ends_epoch(delivered: int, length: int, rank: int, last: str) -> bool:
    """Whether a rank has nothing more of an epoch once `delivered` positions of it are behind all ranks. A short step may
    have no sample for the later ranks; of any other last step each rank has a part."""
    return delivered + (rank if last == "short" else 0) >= length
