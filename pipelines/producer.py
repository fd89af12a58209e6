"""The loop that makes batches: one thread plans ahead, others read ahead, N threads decode and render; batches come out in order.

Used by the sidecar process and, where there is none, inside the trainer: the same code, so the same pixels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ..augment.draw import Params
from . import placement
from .counters import Counters, Tally, added
from .decode import BadSample, decode
from .engines import sample_engine
from .judge import Judge
from .plan import PLANNED_TOGETHER, Bad, Job, Plan, Planner, denominator_of, steps
from .read_ahead import Expected, ReadAhead, read_ahead, size_of

if TYPE_CHECKING:
    from .engines import Engine
    from .order import Order
    from .source import Source

TOGETHER_PIXELS = 1 << 14
"""Images that are smaller are read, decoded and rendered several at a time, up to so many pixels: a thread that asks for the
interpreter's lock between all of its short calls would spend more time waiting for it than working."""


@dataclass(frozen=True)
class FreeSlot:
    """Room for one batch. arrays(rows) -> {group: (V, rows, C, H, W)}."""

    number: int
    arrays: Callable[[int], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Made:
    """What there is to know about a finished batch besides its pixels, which lie in slot `slot`; n rows.

    epoch, delivered: the stream's state once the batch has been handed over; bad: the samples that were replaced; counters: what
    the producer and its source have done so far, later batches' share included: read (images), read_bytes, decoded (images), and
    what the source counts.
    """

    slot: int
    epoch: int
    delivered: int
    position: np.ndarray
    index: np.ndarray
    label: np.ndarray
    key: list[str]
    params: Params
    substitute: np.ndarray
    padding: np.ndarray
    bad: list[Bad]
    counters: dict[str, float] = field(default_factory=dict)


@runtime_checkable
class Followed(Protocol):
    """A source that fetches ahead for one stream, told how far that has come."""

    def following(self, order: Order, epoch: int, rank: int, world_size: int, delivered: int, length: int,
                  ranks_here: int = 1) -> Source:
        """The source as that rank's stream sees it."""
        ...

    def reached(self, epoch: int, delivered: int) -> None: ...

    def close(self) -> None: ...


def followed(job: Job) -> Job:
    """The job with a source that knows of its stream, where that is of use to it."""
    if not isinstance(job.source, Followed):
        return job
    here = len(placement.ranks_here(job.rank, job.world_size))
    source = job.source.following(job.order, job.epoch, job.rank, job.world_size, job.delivered, job.length, here)
    return replace(job, source=source)


@dataclass
class Unfinished:
    """A planned batch on its way. `left` counts rows that no thread has finished."""

    plan: Plan
    slot: FreeSlot
    views: dict[str, np.ndarray]
    target: Any
    left: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class Producer:
    """Iterate it: each Made is one finished batch, in order, without end. Threads start with the first.

    free_slot() waits for the next slot to fill, or returns None when there will be no more. An exception of any thread
    is raised in place of the batch that it belongs to, after all earlier batches.
    """

    def __init__(self, job: Job, free_slot: Callable[[], FreeSlot | None], engine: Engine | None = None) -> None:
        """engine: one that makes whole batches, of a producer that overrides how they are made."""
        self.job = job = followed(job)
        self._followed = job.source if isinstance(job.source, Followed) else None
        self.free_slot = free_slot
        if engine is None:
            self.engine = engine = sample_engine(job.engine, job.rendered, job.dtype, job.channels_last)
        self.planner = Planner(job, engine)
        self._planned: SimpleQueue[Plan | BaseException | None] = SimpleQueue()
        self._room = threading.Semaphore(max(1, PLANNED_TOGETHER // job.batch_size))  # for plans that have no slot yet
        self._ahead: ReadAhead | None = None
        self._rows: SimpleQueue[tuple[Unfinished, int, int] | None] = SimpleQueue()
        self._batches: SimpleQueue[Unfinished | BaseException | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._judge = Judge(job.max_bad, joined=job.delivered > 0)
        self.counters, self._reads, self._decoded = Counters(), Tally(), Tally()
        self._before = self._of_source()  # by others that use the same source

    def __iter__(self) -> Iterator[Made]:
        return self

    def __next__(self) -> Made:
        if not self._threads:
            self._start()
        batch = self._batches.get()
        if batch is None:
            raise StopIteration
        if isinstance(batch, BaseException):
            raise batch
        batch.done.wait()
        if batch.error is not None:
            raise batch.error
        plan, step = batch.plan, batch.plan.step
        if self._followed is not None:
            self._followed.reached(step.epoch, step.delivered)
        plan.bad.sort(key=lambda bad: bad.row)
        self._judge.add(plan.bad, len(plan.index), step.ends_epoch)
        substitute = np.zeros(len(plan.index), bool)
        substitute[[bad.row for bad in plan.bad]] = True
        return Made(batch.slot.number, step.epoch, step.delivered, step.position, plan.index, plan.label, plan.key,
                    plan.params, substitute, step.padding, plan.bad, self._counted())

    def close(self) -> None:
        """End the threads; each finishes the sample that it is at. The caller must make free_slot return None."""
        self._closed = True
        self._room.release()
        if self._ahead is not None:
            self._ahead.close()
        if self._followed is not None:
            self._followed.close()
        for _ in self._threads:
            self._rows.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():  # garbage collection may close us from one of them
                thread.join()
        self._batches.put(None)

    def _start(self) -> None:
        self._run_threads({"plan": self._plan_ahead, "slot": self._plan, **{f"render-{i}": self._render
                                                                            for i in range(self.job.threads)}})

    def _run_threads(self, targets: dict[str, Callable[[], None]]) -> None:
        self._ahead = read_ahead(self.job.source, self.job.read_ahead_bytes)
        self._threads = [threading.Thread(target=target, name=f"viewmill-{name}", daemon=True)
                         for name, target in targets.items()]
        for thread in self._threads:
            thread.start()

    def _of_source(self) -> dict[str, float]:
        counters = getattr(self.job.source, "counters", None)
        return counters.snapshot() if isinstance(counters, Counters) else {}

    def _counted(self) -> dict[str, float]:
        reads, read_bytes = self._reads.take()
        self.counters.add("read", reads)
        self.counters.add("read_bytes", read_bytes)
        self.counters.add("decoded", self._decoded.take()[0])
        return self.counters.snapshot() | added(self._of_source(), self._before, -1)

    def _plan_ahead(self) -> None:
        """Plans before they have a slot, so that their samples can be read meanwhile."""
        try:
            for plan in self.planner.plans(steps(self.job)):
                if self._ahead is not None:
                    plan.ahead = self._ahead.expect(plan.index)
                    if plan.partners is not None:
                        plan.partners_ahead = self._ahead.expect(plan.partners.index)
                self._room.acquire()
                if self._closed:
                    break
                self._planned.put(plan)
        except BaseException as error:
            self._planned.put(error)
        self._planned.put(None)

    def _plans(self) -> Iterator[Plan]:
        """What `_plan_ahead` has made. Raises what it raised."""
        while (plan := self._planned.get()) is not None:
            if isinstance(plan, BaseException):
                raise plan
            yield plan
            self._room.release()

    def _plan(self) -> None:
        """Gives each plan a slot, and its rows to the threads that render."""
        try:
            for plan in self._plans():
                slot = self.free_slot()
                if slot is None or self._closed:
                    return
                count = len(plan.index)
                views = slot.arrays(count)
                batch = Unfinished(plan, slot, views, self.engine.target(views), count)
                self._batches.put(batch)
                together = self._together(plan)
                for begin in range(0, count, together):
                    self._rows.put((batch, begin, min(begin + together, count)))
        except BaseException as error:
            self._batches.put(error)

    def _together(self, plan: Plan) -> int:
        """How many of a plan's rows one thread makes at a time: one, or several that are small; each thread gets some."""
        count = len(plan.index)
        pixels = int(plan.size_hw.prod(1).sum())
        return max(1, min(TOGETHER_PIXELS * count // max(pixels, 1), count // (4 * self.job.threads)))

    def _render(self) -> None:
        while (item := self._rows.get()) is not None:
            batch, begin, end = item
            try:
                if not self._closed and batch.error is None:
                    self._make(batch, begin, end)
            except BaseException as error:
                batch.error = error
            with batch.lock:
                batch.left -= end - begin
                last = batch.left == 0
            if last:
                batch.done.set()

    def _make(self, batch: Unfinished, begin: int, end: int) -> None:
        """Rows begin..end of a batch."""
        plan = batch.plan
        packed = plan.packed[begin:end]
        images, partners = [], []
        for row in range(begin, end):
            try:
                images.append(self._image(int(plan.index[row]), plan.size_hw[row], at_row(plan.ahead, row),
                                          denominator_of(plan.params, row)))
            except BadSample as reason:
                image, packed[row - begin] = self._replace(plan, row, str(reason))
                images.append(image)
            if plan.partners is not None:
                try:
                    partners.append(self._image(int(plan.partners.index[row]), plan.partners.size_hw[row],
                                                at_row(plan.partners_ahead, row)))
                except BadSample as reason:
                    image, packed[row - begin] = self._replace_partner(plan, row, str(reason))
                    partners.append(image)
        self.engine.render_several(images, packed, batch.target, begin, partners or None)

    def _read(self, index: int, expected: Expected | None) -> bytes | np.ndarray:
        """A sample's bytes. expected: the read that may be under way for it."""
        ahead = self._ahead
        data = self.job.source.read(index) if expected is None or ahead is None else ahead.read(expected, index)
        self._reads.note(size_of(data))
        return data

    def _image(self, index: int, size_hw: np.ndarray, expected: Expected | None = None, denominator: int = 1) -> np.ndarray:
        image = decode(self._read(index, expected), denominator)
        if image.shape[:2] != tuple((-(-size_hw // denominator)).tolist()):
            raise BadSample("size differs from index")
        self._decoded.note(1)
        return image

    def _replace(self, plan: Plan, row: int, reason: str) -> tuple[np.ndarray, Any]:
        """Put the first stand-in that can be decoded in a row's place, with parameters of its own: they tell the truth."""
        step, source = plan.step, self.job.source
        bad = next((b for b in plan.bad if b.row == row), None)  # the header of the row's first sample may have failed before
        if bad is None:
            bad = Bad.of(source, row, int(plan.index[row]), reason)
            plan.bad.append(bad)
        spare = plan.spare.get(row) or self.planner.stand_ins(step.epoch, int(step.position[row]))
        index, size_hw, image = self._stand_in(spare, bad, plan, row)
        plan.index[row], plan.size_hw[row] = index, size_hw
        plan.label[row], plan.key[row] = source.label(index), source.key(index)
        partners = self.planner.partners(step.epoch, plan.index[row:row + 1], step.position[row:row + 1])
        if plan.partners is not None and partners is not None:
            plan.partners.index[row], plan.partners.size_hw[row] = partners.index[0], partners.size_hw[0]
        return image, self._draw_again(plan, row)

    def _replace_partner(self, plan: Plan, row: int, reason: str) -> tuple[np.ndarray, Any]:
        """Another second image for a row. It is not counted: it will be where it stands for itself."""
        step, partners = plan.step, plan.partners
        assert partners is not None
        bad = Bad.of(self.job.source, row, int(partners.index[row]), reason)
        there = int(plan.params[""]["partner"]["position"][row])
        partners.index[row], partners.size_hw[row], image = self._stand_in(self.planner.stand_ins(step.epoch, there), bad)
        return image, self._draw_again(plan, row)

    def _stand_in(self, spare: Iterator[tuple[int, np.ndarray]], bad: Bad, plan: Plan | None = None,
                  row: int = 0) -> tuple[int, np.ndarray, np.ndarray]:
        """Index, size and pixels of the first stand-in that can be decoded; as its own boxes allow in that row of a plan."""
        while True:
            index, size_hw = self.planner.next_stand_in(spare, bad)
            denominator = 1
            if plan is not None and self.job.recipe.decode == "scaled":
                step, only = plan.step, np.array([row])
                params = self.planner.draw(step.epoch, np.array([index]), size_hw[None], step.position[only], None)
                denominator = denominator_of(params, 0)
            try:
                return index, size_hw, self._image(index, size_hw, denominator=denominator)
            except BadSample:
                continue

    def _draw_again(self, plan: Plan, row: int) -> Any:
        """Parameters of a row for the images that now stand there; what the engine reads of them."""
        step, only = plan.step, np.array([row])
        params = self.planner.draw(step.epoch, plan.index[only], plan.size_hw[only], step.position[only],
                                   plan.partners and plan.partners.rows(only))
        for view, ops in params.items():
            for op, arrays in ops.items():
                for name, array in arrays.items():
                    plan.params[view][op][name][row] = array[0]
        return self.planner.engine.pack(params)[0]


def at_row(expected: list[Expected] | None, row: int) -> Expected | None:
    return None if expected is None else expected[row]
