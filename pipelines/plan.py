"""What a producer will make: which samples, of which sizes, with which parameters. No pixel is touched here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..augment.draw import Params, draw, partners_of, take
from ..augment.handover import Handover
from ..augment.recipe import Recipe
from .faults import BadSample
from .image_header import image_size
from .state import ends_epoch, step_positions

if TYPE_CHECKING:
    from .engines import Engine
    from .order import Order
    from .read_ahead import Expected
    from .source import Source

PLANNED_TOGETHER = 512
"""Samples."""

HEADERLESS = "its header cannot be read"


def why_headerless(source: Source, index: int) -> str:
    """What is wrong with a sample that has no size: of local data told by its first bytes, of others left open."""
    if source.local:
        try:
            data = source.read(index)
            if isinstance(data, bytes):
                image_size(data)
        except BadSample as reason:
            return str(reason)
    return HEADERLESS


STAND_INS = 32
"""How many stand-ins are tried for one sample before the run stops."""


@dataclass(frozen=True)
class Job:
    """One rank's stream from a point on, endless. All that a producer knows; pickled to the sidecar.

    length: samples in an epoch; last: what becomes of a step that the epoch's end cuts: "pad" fills it up, else it is
    short; of "drop" it has a row for each rank all the same. epoch, delivered: where to begin. threads: that decode and
    render. max_bad: fraction of samples, see `judge`. read_ahead_bytes: of encoded samples, see `read_ahead`. left: types of ops
    that are left to the method, see `augment.handover`.
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
    read_ahead_bytes: int = 0
    channels_last: bool = False
    left: tuple[str, ...] = ()

    @property
    def rendered(self) -> Recipe:
        """What an engine renders of the recipe, all of which is drawn."""
        return Handover(self.recipe, self.left).rendered

    @property
    def global_batch(self) -> int:
        return self.batch_size * self.world_size

    def positions(self, delivered: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions (n,) int64 of this rank's samples in the step that begins at `delivered`, and which (n,) are padding."""
        position = step_positions(delivered, self.global_batch, self.rank, self.world_size, self.length)
        if self.last != "short":  # ranks that wait for each other in each step must all have one
            rows = self.batch_size if self.last == "pad" else max(1, len(position))
            position = delivered + self.rank + self.world_size * np.arange(rows, dtype=np.int64)
        return position % self.length, position >= self.length


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
                yield Step(epoch, delivered, position, padding, ends_epoch(delivered, job.length, job.rank, job.last))
        epoch, delivered = epoch + 1, 0


@dataclass(frozen=True)
class Bad:
    """A sample that could not be used: its row in the batch, where it lies, and why.

    index: its number in the data; shard: a path or URL, "" where there is none; offset, size: its bytes in it, 0, 0 where that
    is not known.
    """

    row: int
    where: str
    reason: str
    index: int = -1
    key: str = ""
    shard: str = ""
    offset: int = 0
    size: int = 0

    @classmethod
    def of(cls, source: Source, row: int, index: int, reason: str) -> Bad:
        """With what the source knows of it: by `place(index)`, else by `extent(index)`, where it has one of them."""
        shard, offset, size = "", 0, 0
        with contextlib.suppress(OSError):  # its file may be gone; reading it has said so
            if hasattr(source, "place"):
                shard, offset, size = source.place(index)
            elif hasattr(source, "extent"):
                path, offset, size = source.extent(index)
                shard = str(path)
        return cls(row, source.where(index), reason, index, source.key(index), shard, offset, size)


@dataclass
class Partners:
    """The second images of some samples: index (n,) int64 and size_hw (n, 2), changed where a stand-in takes a row."""

    index: np.ndarray
    size_hw: np.ndarray

    def rows(self, rows: np.ndarray) -> Partners:
        return Partners(self.index[rows], self.size_hw[rows])


@dataclass
class Plan:
    """A step with its samples. index, size_hw, label, key, params and packed are changed where a stand-in takes a row.

    partners: None where the recipe takes no second image. ahead, partners_ahead: the reads that are under way for them.
    """

    step: Step
    index: np.ndarray
    size_hw: np.ndarray
    label: np.ndarray
    key: list[str]
    params: Params
    packed: Any
    partners: Partners | None = None
    bad: list[Bad] = field(default_factory=list)
    spare: dict[int, Iterator[tuple[int, np.ndarray]]] = field(default_factory=dict)
    ahead: list[Expected] | None = None
    partners_ahead: list[Expected] | None = None


def denominator_of(params: Params, row: int) -> int:
    """The fraction of its size at which a sample's image is decoded: 1 where nothing was drawn."""
    drawn = params.get("", {}).get("decode")
    return 1 if drawn is None else int(drawn["denominator"][row])


class Planner:
    """Plans steps of a job, many samples at once: a draw costs little more for 500 samples than for one."""

    def __init__(self, job: Job, engine: Engine) -> None:
        self.job, self.engine = job, engine

    def plans(self, steps: Iterator[Step]) -> Iterator[Plan]:
        """The steps' plans, in order, each raised error in its place; steps of one epoch are planned together."""
        for group in _together(steps):
            try:
                plans = self.plan(group)
            except Exception:
                for step in group:  # those before the one at fault are still good
                    yield from self.plan([step])
                raise
            yield from plans

    def plan(self, steps: list[Step]) -> list[Plan]:
        """Of steps of one epoch. Samples whose header cannot be read are replaced here, so that parameters fit what is shown."""
        source, epoch = self.job.source, steps[0].epoch
        position = np.concatenate([step.position for step in steps])
        index = np.array(self.job.order.index(epoch, position), np.int64)
        size_hw = np.array(source.size_hw(index), np.int64).reshape(-1, 2)
        ends = np.cumsum([len(step.position) for step in steps])
        bad: list[dict[int, Bad]] = [{} for _ in steps]
        spare: list[dict[int, Iterator[tuple[int, np.ndarray]]]] = [{} for _ in steps]
        for at in np.flatnonzero((size_hw < 1).any(1)).tolist():
            which = int(np.searchsorted(ends, at, side="right"))
            row = at - int(ends[which]) + len(steps[which].position)
            found = bad[which][row] = Bad.of(source, row, int(index[at]), why_headerless(source, int(index[at])))
            stand_ins = spare[which][row] = self.stand_ins(epoch, int(position[at]))
            index[at], size_hw[at] = self.next_stand_in(stand_ins, found)
        partners = self.partners(epoch, index, position)
        params = self.draw(epoch, index, size_hw, position, partners)
        packed = self.engine.pack(params)
        label = np.array([source.label(i) for i in index.tolist()], np.int64)
        key = [source.key(i) for i in index.tolist()]
        plans = []
        for which, step in enumerate(steps):
            rows = np.arange(ends[which] - len(step.position), ends[which])
            plans.append(Plan(step, index[rows], size_hw[rows], label[rows], key[rows[0]:rows[-1] + 1],
                              take(params, rows), packed[rows[0]:rows[-1] + 1], partners and partners.rows(rows),
                              list(bad[which].values()), spare[which]))
        return plans

    def draw(self, epoch: int, index: np.ndarray, size_hw: np.ndarray, position: np.ndarray, partners: Partners | None) -> Params:
        """Parameters of samples; where they have second images, those are told by number under ["partner"]["index"]."""
        job = self.job
        if partners is None:
            return draw(job.recipe, job.seed, epoch, index, size_hw, position=position, length=job.length)
        params = draw(job.recipe, job.seed, epoch, index, size_hw, position=position, length=job.length,
                      partner_size_hw=partners.size_hw)
        params[""]["partner"]["index"] = partners.index.copy()
        return params

    def partners(self, epoch: int, index: np.ndarray, position: np.ndarray) -> Partners | None:
        """The second images of samples at positions (n,), a stand-in where a header cannot be read."""
        job = self.job
        if not job.recipe.takes_partner:
            return None
        there = partners_of(job.recipe, job.seed, epoch, index, position, job.length)
        number = np.array(job.order.index(epoch, there), np.int64)
        size_hw = np.array(job.source.size_hw(number), np.int64).reshape(-1, 2)
        for row in np.flatnonzero((size_hw < 1).any(1)).tolist():
            bad = Bad.of(job.source, row, int(number[row]), HEADERLESS)
            number[row], size_hw[row] = self.next_stand_in(self.stand_ins(epoch, int(there[row])), bad)
        return Partners(number, size_hw)

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


def _together(steps: Iterator[Step]) -> Iterator[list[Step]]:
    """Neighbours of one epoch, as many as make up PLANNED_TOGETHER samples, or the one that is larger by itself."""
    group: list[Step] = []
    for step in steps:
        count = sum(len(each.position) for each in group) + len(step.position)
        if group and (count > PLANNED_TOGETHER or step.epoch != group[0].epoch):
            yield group
            group = []
        group.append(step)
    if group:
        yield group
