"""What a producer will make: which samples, of which sizes, with which parameters. No pixel is touched here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..augment.draw import Params, draw
from ..augment.recipe import Recipe
from .state import step_positions

if TYPE_CHECKING:
    from .engines import Engine
    from .order import Order
    from .source import Source

STAND_INS = 32
"""How many stand-ins are tried for one sample before the run stops."""


@dataclass(frozen=True)
class Job:
    """One rank's stream from a point on, endless. All that a producer knows; pickled to the sidecar.

    length: samples in an epoch; last: what becomes of a step that the epoch's end cuts: "pad" fills it up, else it is
    short. epoch, delivered: where to begin. threads: that decode and render. max_bad: fraction of samples.
    """

    source: Source
    order: Order
    recipe: Recipe
    engine: str
    dtype: str
    seed: int
    batch_size: int
    rank: int
    world_size: int
    length: int
    last: str
    epoch: int
    delivered: int
    threads: int
    max_bad: float

    @property
    def global_batch(self) -> int:
        return self.batch_size * self.world_size

    def positions(self, delivered: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions (n,) int64 of this rank's samples in the step that begins at `delivered`, and which (n,) are padding."""
        if self.last == "pad":
            position = delivered + self.rank + self.world_size * np.arange(self.batch_size, dtype=np.int64)
            return position % self.length, position >= self.length
        position = step_positions(delivered, self.global_batch, self.rank, self.world_size, self.length)
        return position, np.zeros(len(position), bool)


@dataclass(frozen=True)
class Step:
    """One rank's part of one global batch. delivered: positions of the epoch behind all ranks once it is done."""

    epoch: int
    delivered: int
    position: np.ndarray
    padding: np.ndarray
    ends_epoch: bool


def steps(job: Job) -> Iterator[Step]:
    """All steps from the job's start on, epoch after epoch; a step without a sample for this rank is passed over."""
    epoch, delivered = job.epoch, job.delivered
    while True:
        while delivered < job.length:
            position, padding = job.positions(delivered)
            delivered = min(delivered + job.global_batch, job.length)
            if len(position):
                yield Step(epoch, delivered, position, padding, delivered + job.rank >= job.length)
        epoch, delivered = epoch + 1, 0


@dataclass(frozen=True)
class Bad:
    """A sample that could not be used: its row in the batch, where it lies, and why."""

    row: int
    where: str
    reason: str


@dataclass
class Plan:
    """A step with its samples. index, size_hw, label, key, params and packed are changed where a stand-in takes a row."""

    step: Step
    index: np.ndarray
    size_hw: np.ndarray
    label: np.ndarray
    key: list[str]
    params: Params
    packed: Any
    bad: list[Bad] = field(default_factory=list)
    spare: dict[int, Iterator[tuple[int, np.ndarray]]] = field(default_factory=dict)


class Planner:
    """Plans steps of a job, a whole batch at once."""

    def __init__(self, job: Job, engine: Engine) -> None:
        self.job, self.engine = job, engine

    def plan(self, step: Step) -> Plan:
        """Samples whose header cannot be read are replaced here already, so that parameters fit what is shown."""
        source = self.job.source
        index = np.array(self.job.order.index(step.epoch, step.position), np.int64)
        size_hw = np.array(source.size_hw(index), np.int64).reshape(-1, 2)
        bad, spare = [], {}
        for row in np.flatnonzero((size_hw < 1).any(1)).tolist():
            bad.append(Bad(row, source.where(int(index[row])), "its header cannot be read"))
            spare[row] = self.stand_ins(step.epoch, int(step.position[row]))
            index[row], size_hw[row] = self.next_stand_in(spare[row], bad[-1])
        params = self.draw(step.epoch, index, size_hw, step.position)
        label = np.array([source.label(i) for i in index.tolist()], np.int64)
        key = [source.key(i) for i in index.tolist()]
        return Plan(step, index, size_hw, label, key, params, self.engine.pack(params), bad, spare)

    def draw(self, epoch: int, index: np.ndarray, size_hw: np.ndarray, position: np.ndarray) -> Params:
        return draw(self.job.recipe, self.job.seed, epoch, index, size_hw, position=position, length=self.job.length)

    def stand_ins(self, epoch: int, position: int) -> Iterator[tuple[int, np.ndarray]]:
        """Index and size (2,) of one stand-in after the other; always the same ones for a position of an epoch."""
        for index in self.job.order.stand_ins(epoch, position, STAND_INS).tolist():
            size_hw = np.array(self.job.source.size_hw(np.array([index])), np.int64).reshape(2)
            if (size_hw > 0).all():
                yield index, size_hw

    def next_stand_in(self, spare: Iterator[tuple[int, np.ndarray]], bad: Bad) -> tuple[int, np.ndarray]:
        found = next(spare, None)
        if found is None:
            raise RuntimeError(f"{bad.where}: {bad.reason}, and none of its stand-ins can be used either: check the data")
        return found
