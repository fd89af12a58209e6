"""Where the time of one image goes: processor time of one thread, stage by stage, by the loader's own code."""

from __future__ import annotations

import itertools
import mmap
import time
from typing import Any

import numpy as np

from ...augment.recipe import UnsupportedRecipe
from ..loader import Loader
from ..order import Order
from ..plan import Job, steps
from ..producer import FreeSlot, Producer, Unfinished
from ..ring import Layout
from ..source import Source
from .messages import Spec

STAGES = ("plan", "read", "decode", "render", "hand over")
SECONDS = 2.0
"""Of rendering, at least; whole batches."""


class _Timed:
    """Stands for a source or an engine; what one of its methods takes in this thread is added up."""

    def __init__(self, of: Any, method: str) -> None:
        self._of, self._method, self.seconds = of, method, 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._of, name)
        return self._measured if name == self._method else found

    def _measured(self, *given: Any, **named: Any) -> Any:
        began = time.thread_time()
        try:
            return getattr(self._of, self._method)(*given, **named)
        finally:
            self.seconds += time.thread_time() - began


def stages(spec: Spec) -> dict[str, float]:
    """Milliseconds an image of each stage. plan: order, sizes and draws; decode: with the check of its size; hand over: what the
    trainer pays for a batch that a sidecar made. Raises UnsupportedRecipe for an engine that makes whole batches.
    """
    if spec.name == "dali":
        raise UnsupportedRecipe("dali decodes, crops and renders whole batches in one graph, so its stages cannot be told apart")
    source = spec.files.source()
    plan, read, decode, render = _making(spec, source)
    return dict(zip(STAGES, (plan, read, decode, render, _handing_over(spec, source)), strict=True))


def _making(spec: Spec, source: Source) -> tuple[float, float, float, float]:
    length = len(source) // spec.batch_size * spec.batch_size
    order = Order(source.shard_sizes, 0, lanes=256, window=16, shuffle="full")
    timed: Any = _Timed(source, "read")
    job = Job(timed, order, spec.recipe, spec.name, "float32", 0, spec.batch_size, 0, 1, length, "drop", 0, 0, 1, 0.01)
    layout = Layout(tuple(spec.recipe.groups.items()), spec.batch_size, "float32")
    memory = mmap.mmap(-1, layout.slot_bytes)
    slot = FreeSlot(0, lambda rows: layout.arrays(memory, rows))
    producer = Producer(job, lambda: slot)
    producer.engine = engine = _Timed(producer.engine, "render_several")
    views = slot.arrays(spec.batch_size)
    target = producer.engine.target(views)
    made, images = 0.0, 0
    began = time.perf_counter()
    for number, plan in enumerate(producer.planner.plans(steps(job))):
        batch, count = Unfinished(plan, slot, views, target, len(plan.index)), len(plan.index)
        together, start = producer._together(plan), time.thread_time()
        for begin in range(0, count, together):
            producer._make(batch, begin, min(begin + together, count))
        if number == 0:  # compiled, or from the cache: it does not count
            engine.seconds = timed.seconds = 0.0
            began = time.perf_counter()
            continue
        made, images = made + time.thread_time() - start, images + count
        if time.perf_counter() - began > SECONDS:
            break
    decoding = made - timed.seconds - engine.seconds
    return _planning(producer, job), 1000 * timed.seconds / images, 1000 * decoding / images, 1000 * engine.seconds / images


def _planning(producer: Producer, job: Job) -> float:
    """Of groups as large as the planner makes them."""
    from ..plan import PLANNED_TOGETHER

    together = max(1, PLANNED_TOGETHER // job.batch_size)
    ahead = itertools.takewhile(lambda step: step.epoch == 0, steps(job))
    group = list(itertools.islice(ahead, together))
    seconds = []
    for _ in range(5):
        began = time.thread_time()
        producer.planner.plan(group)
        seconds.append(time.thread_time() - began)
    return 1000 * float(np.median(seconds)) / sum(len(step.position) for step in group)


def _handing_over(spec: Spec, source: Source) -> float:
    with Loader(source, spec.recipe, spec.batch_size, epochs=None, threads=spec.threads, engine=spec.name,
                prefetch=spec.prefetch) as loader:
        stream = iter(loader)
        for _ in range(2 * spec.prefetch + 2):
            next(stream)
        batches, began = 20, time.process_time()
        for _ in range(batches):
            next(stream)
        return 1000 * (time.process_time() - began) / (batches * spec.batch_size)
