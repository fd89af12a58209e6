"""What the benchmark and an arm's process tell each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...augment.recipe import Recipe
from .files import Files


@dataclass(frozen=True)
class Spec:
    """What an arm is. kind: "decode" (bare decoding), "viewmill" (name: an engine), "peer", "trainer" (name: one of
    those to plug into, and "before" or "after"), or "stages" (of an engine, with nothing to take)."""

    kind: str
    name: str
    recipe: Recipe
    files: Files
    batch_size: int
    threads: int
    prefetch: int = 2


@dataclass(frozen=True)
class Ready:
    """engine: what "auto" became; ahead: batches that may be ready before they are asked for."""

    engine: str
    ahead: int
    notes: list[str] = field(default_factory=list)
    stages: dict[str, float] | None = None


@dataclass(frozen=True)
class Failed:
    """refused: it cannot do the recipe, as it says itself; else it broke."""

    why: str
    refused: bool


@dataclass(frozen=True)
class Taken:
    """One measurement. seconds: by the clock; trainer_seconds: processor time of the arm's trainer process; cpu_seconds:
    the same with all its descendants, None where that cannot be seen."""

    seconds: float
    trainer_seconds: float
    cpu_seconds: float | None
