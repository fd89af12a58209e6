"""The trainer's end of production by DALI: one thread reads and plans, another decodes, crops and colours, on a GPU or not.

No ring and no sidecar: batches are born in torch's own memory on the device, and what runs here is mostly not Python.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .decode import MAX_PIXELS, BadSample
from .engines.dali import DaliEngine, DaliOptions, Graph, as_ppm
from .image_header import read_header
from .plan import Job, Plan
from .producer import FreeSlot, Made, Producer, Unfinished, at_row
from .upload import hand_over

LOG = logging.getLogger("viewmill")

Finished = tuple[dict[str, Tensor], Any]
"""Views, and the event after which they are there (None on the CPU)."""


class DaliFeed:
    """Production by threads of this process, on a device. prefetch: batches made ahead, beside those inside DALI."""

    def __init__(self, job: Job, prefetch: int, device: torch.device, options: DaliOptions) -> None:
        self.pid = os.getpid()
        self._room: SimpleQueue[FreeSlot | None] = SimpleQueue()
        self._numbers = itertools.count()
        self._producer = DaliProducer(job, self._room.get, device, options)
        for _ in range(prefetch + options.prefetch_queue_depth):
            self._more()

    @property
    def faults(self) -> int:
        """Batches that the CPU decoded because DALI gave up: the damaged ones, and at times one that was under way with them."""
        return self._producer.faults

    def next(self) -> tuple[Made, dict[str, Tensor]]:
        made = next(self._producer, None)
        if made is None:
            raise RuntimeError("the loader was closed by another thread while it waited for a batch")
        views, event = self._producer.finished.pop(made.slot)
        self._more()
        if event is not None:
            hand_over(views, event, self._producer.device)
        return made, views

    def close(self) -> None:
        if self.pid != os.getpid():
            return
        self.pid = -1
        self._room.put(None)
        self._producer.close()

    def _more(self) -> None:
        self._room.put(FreeSlot(next(self._numbers), lambda rows: {}))


class DaliProducer(Producer):
    """Batches in order, as the producer has them, but made whole. finished: by the number of the slot, until it is taken."""

    def __init__(self, job: Job, free_slot: Any, device: torch.device, options: DaliOptions) -> None:
        self._dali = DaliEngine(job.rendered, job.dtype, options, job.channels_last)
        super().__init__(job, free_slot, self._dali)
        self.device, self.finished, self.faults = device, dict[int, Finished](), 0
        self._ready: SimpleQueue[tuple[Unfinished, list[np.ndarray]] | None] = SimpleQueue()
        self._inside: deque[tuple[Unfinished, list[np.ndarray]]] = deque()  # taken by DALI and not given back yet
        self._again: deque[tuple[Unfinished, list[np.ndarray]]] = deque()  # to be taken once more, by another graph
        self._by_cpu: set[int] = set()  # numbers of slots whose batches were decoded here
        self._ended = False

    def close(self) -> None:
        self._closed = True
        self._ready.put(None)
        super().close()

    def _start(self) -> None:
        self._run_threads({"plan": self._plan_ahead, "slot": self._plan, "dali": self._run})

    def _plan(self) -> None:
        try:
            with ThreadPoolExecutor(self.job.threads, "viewmill-read") as pool:
                for plan in self._plans():
                    slot = self.free_slot()
                    if slot is None or self._closed:
                        break
                    encoded = list(pool.map(partial(self._encoded, plan), range(len(plan.index))))
                    batch = Unfinished(plan, slot, {}, None, 1)
                    self._batches.put(batch)
                    self._ready.put((batch, encoded))
        except BaseException as error:
            self._batches.put(error)
        self._ready.put(None)  # what is inside DALI still comes out

    def _encoded(self, plan: Plan, row: int, strictly: bool = False) -> np.ndarray:
        """A row's image as DALI gets it: as it is where nothing looks wrong or rare, else decoded here, or replaced."""
        try:
            if not strictly:
                data = self._read(int(plan.index[row]), at_row(plan.ahead, row))
                if isinstance(data, bytes) and is_plain(data, plan.size_hw[row]):
                    self._decoded.note(1)  # by DALI
                    return np.frombuffer(data, np.uint8)
            image = self._image(int(plan.index[row]), plan.size_hw[row])
        except BadSample as reason:
            image, _ = self._replace(plan, row, str(reason))
        return as_ppm(image)

    def _run(self) -> None:
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        held: tuple[Any, Any] | None = None
        try:
            with torch.cuda.stream(stream):  # does nothing where there is none
                graph = self._graph()
                while not self._closed:
                    graph, crops = self._crops(graph, stream)
                    batch, _ = self._inside.popleft()
                    views = self._dali.finish(crops, batch.plan.params)
                    event = None
                    if stream is not None:
                        event = torch.cuda.Event()
                        event.record(stream)
                        if held is not None:
                            held[0].synchronize()  # DALI knows nothing of our stream: its memory is kept till we are done
                        held = event, crops
                    self.finished[batch.slot.number] = views, event
                    batch.done.set()
                    del crops, views, batch
        except StopIteration:
            pass
        except BaseException as error:
            taken = next(iter([*self._inside, *self._again]), None) or self._ready.get()  # whose place it is
            if taken is not None:
                taken[0].error = error
                taken[0].done.set()
        if held is not None:
            held[0].synchronize()

    def _graph(self) -> Graph:
        return Graph(self._dali, self._next, self.job.batch_size, self.job.threads, self.device)

    def _next(self) -> Sequence[Any]:
        """What DALI asks for next. Raises StopIteration when there is no more."""
        if self._again:
            taken = self._again.popleft()
        else:
            waiting = None if self._ended or self._closed else self._ready.get()
            if waiting is None:
                self._ended = True
                raise StopIteration
            taken = waiting
        self._inside.append(taken)
        batch, encoded = taken
        return encoded, *self._dali.arrays(batch.plan.params)

    def _crops(self, graph: Graph, stream: Any) -> tuple[Graph, list[Tensor]]:
        """The next batch's crops. One image that DALI cannot decode costs it the graph, and whatever is inside: a batch is
        decoded here, where a damaged image is told and replaced, and all that was under way is begun anew. The first one is
        to blame, or one behind it that failed sooner: then it is its turn the next time round."""
        while True:
            try:
                return graph, graph.run(stream)
            except RuntimeError as error:
                plain = [number for number, (batch, _) in enumerate(self._inside) if batch.slot.number not in self._by_cpu]
                if not plain:
                    raise
                self.faults += 1
                if self.faults == 1:
                    said = next((x.strip() for x in reversed(str(error).splitlines()) if "rror" in x), str(error)[:200])
                    LOG.warning("DALI could not decode a batch (%s): the CPU does it; further ones are only counted", said)
                batch, _ = self._inside[plain[0]]
                encoded = [self._encoded(batch.plan, row, strictly=True) for row in range(len(batch.plan.index))]
                self._inside[plain[0]] = batch, encoded
                self._by_cpu.add(batch.slot.number)
                self._again.extendleft(reversed(self._inside))
                self._inside.clear()
                graph = self._graph()


def is_plain(data: bytes, size_hw: np.ndarray) -> bool:
    """Whether DALI may decode it: a baseline JPEG of one or three channels, of the size that is expected, that ends where it
    says. Others (progressive, CMYK, RGB, other formats, cut short) are decoded as the other engines do. Raises BadSample."""
    header = read_header(data)
    if header.frame != 0xC0 or header.channels not in (1, 3) or data[-2:] != b"\xff\xd9":
        return False
    if (header.height, header.width) != tuple(size_hw.tolist()) or header.height * header.width > MAX_PIXELS:
        return False
    adobe = data.find(b"Adobe", 0, 4096)
    return adobe < 0 or data[adobe + 11:adobe + 12] != b"\0"  # 0: three channels that are RGB already
