"""The loop that makes batches: one thread plans ahead, N threads decode and render, batches come out in order.

Used by the sidecar process and, where there is none, inside the trainer: the same code, so the same pixels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np

from ..augment.draw import Params
from .decode import BadSample, decode
from .engines import sample_engine
from .plan import Bad, Job, Plan, Planner, steps

JUDGED_FROM = 100
"""Samples after which the fraction of bad ones is first judged; a smaller epoch is judged at its end."""


@dataclass(frozen=True)
class FreeSlot:
    """Room for one batch. arrays(rows) -> {group: (V, rows, C, H, W)}."""

    number: int
    arrays: Callable[[int], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Made:
    """What there is to know about a finished batch besides its pixels, which lie in slot `slot`; n rows.

    epoch, delivered: the stream's state once the batch has been handed over; bad: the samples that were replaced.
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


@dataclass
class Unfinished:
    """A planned batch on its way. `left` counts rows that no thread has finished."""

    plan: Plan
    slot: FreeSlot
    views: dict[str, np.ndarray]
    left: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class Producer:
    """Iterate it: each Made is one finished batch, in order, without end. Threads start with the first.

    free_slot() waits for the next slot to fill, or returns None when there will be no more. An exception of any thread
    is raised in place of the batch that it belongs to, after all earlier batches.
    """

    def __init__(self, job: Job, free_slot: Callable[[], FreeSlot | None], planner: Planner | None = None) -> None:
        """planner: of an engine that makes whole batches, by a producer that overrides how they are made."""
        self.job, self.free_slot = job, free_slot
        if planner is None:
            self.engine = sample_engine(job.engine, job.recipe, job.dtype)
            planner = Planner(job, self.engine)
        self.planner = planner
        self._rows: SimpleQueue[tuple[Unfinished, int] | None] = SimpleQueue()
        self._batches: SimpleQueue[Unfinished | BaseException | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._seen, self._bad = 0, 0
        self._reasons: dict[str, int] = {}

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
        plan.bad.sort(key=lambda bad: bad.row)
        self._judge(plan.bad, len(plan.index), step.ends_epoch)
        substitute = np.zeros(len(plan.index), bool)
        substitute[[bad.row for bad in plan.bad]] = True
        return Made(batch.slot.number, step.epoch, step.delivered, step.position, plan.index, plan.label, plan.key,
                    plan.params, substitute, step.padding, plan.bad)

    def close(self) -> None:
        """End the threads; each finishes the sample that it is at. The caller must make free_slot return None."""
        self._closed = True
        for _ in self._threads:
            self._rows.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():  # garbage collection may close us from one of them
                thread.join()
        self._batches.put(None)

    def _start(self) -> None:
        targets = [("plan", self._plan), *((f"render-{i}", self._render) for i in range(self.job.threads))]
        self._threads = [threading.Thread(target=target, name=f"viewmill-{name}", daemon=True) for name, target in targets]
        for thread in self._threads:
            thread.start()

    def _plan(self) -> None:
        try:
            for plan in self.planner.plans(steps(self.job)):
                slot = self.free_slot()
                if slot is None or self._closed:
                    return
                batch = Unfinished(plan, slot, slot.arrays(len(plan.index)), len(plan.index))
                self._batches.put(batch)
                for row in range(len(plan.index)):
                    self._rows.put((batch, row))
        except BaseException as error:
            self._batches.put(error)

    def _render(self) -> None:
        while (item := self._rows.get()) is not None:
            batch, row = item
            try:
                if not self._closed and batch.error is None:
                    self._make(batch.plan, row, batch.views)
            except BaseException as error:
                batch.error = error
            with batch.lock:
                batch.left -= 1
                last = batch.left == 0
            if last:
                batch.done.set()

    def _make(self, plan: Plan, row: int, views: dict[str, np.ndarray]) -> None:
        packed = plan.packed[row]
        try:
            image = self._image(int(plan.index[row]), plan.size_hw[row])
        except BadSample as reason:
            image, packed = self._replace(plan, row, str(reason))
        if plan.partners is None:
            self.engine.render_into(image, packed, views, row)
            return
        try:
            partner = self._image(int(plan.partners.index[row]), plan.partners.size_hw[row])
        except BadSample as reason:
            partner, packed = self._replace_partner(plan, row, str(reason))
        self.engine.render_into(image, packed, views, row, partner)

    def _image(self, index: int, size_hw: np.ndarray) -> np.ndarray:
        image = decode(self.job.source.read(index))
        if image.shape[:2] != tuple(size_hw.tolist()):
            raise BadSample("size differs from index")
        return image

    def _replace(self, plan: Plan, row: int, reason: str) -> tuple[np.ndarray, Any]:
        """Put the first stand-in that can be decoded in a row's place, with parameters of its own: they tell the truth."""
        step, source = plan.step, self.job.source
        bad = next((b for b in plan.bad if b.row == row), None)  # the header of the row's first sample may have failed before
        if bad is None:
            bad = Bad(row, source.where(int(plan.index[row])), reason)
            plan.bad.append(bad)
        spare = plan.spare.get(row) or self.planner.stand_ins(step.epoch, int(step.position[row]))
        index, size_hw, image = self._stand_in(spare, bad)
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
        bad = Bad(row, self.job.source.where(int(partners.index[row])), reason)
        there = int(plan.params[""]["partner"]["position"][row])
        partners.index[row], partners.size_hw[row], image = self._stand_in(self.planner.stand_ins(step.epoch, there), bad)
        return image, self._draw_again(plan, row)

    def _stand_in(self, spare: Iterator[tuple[int, np.ndarray]], bad: Bad) -> tuple[int, np.ndarray, np.ndarray]:
        """Index, size and pixels of the first stand-in that can be decoded."""
        while True:
            index, size_hw = self.planner.next_stand_in(spare, bad)
            try:
                return index, size_hw, self._image(index, size_hw)
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

    def _judge(self, bad: list[Bad], count: int, ends_epoch: bool) -> None:
        self._seen += count
        self._bad += len(bad)
        for each in bad:
            self._reasons[each.reason] = self._reasons.get(each.reason, 0) + 1
        if (self._seen >= JUDGED_FROM or ends_epoch) and self._bad > self.job.max_bad * self._seen:
            reasons = ", ".join(f"{n} x {reason}" for reason, n in sorted(self._reasons.items(), key=lambda r: -r[1])[:3])
            example = f"; the last is {bad[-1].where}" if bad else ""
            raise RuntimeError(f"{self._bad} of {self._seen} samples could not be used ({reasons}), more than "
                               f"max_bad={self.job.max_bad:g}{example}: check the data, or raise max_bad")
