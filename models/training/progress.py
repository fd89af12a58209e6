"""What a run shows while it goes: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

QUIET_SECONDS = 10.0
WARM_UP_STEPS = 10
"""Compiling, first allocations, and batches that were made before the first step say nothing about the rest of a run."""

WINDOW_STEPS, WINDOW_SECONDS = 20, 10.0
"""The least that a share of waiting is judged over."""

LOG = logging.getLogger("viewmill")


@dataclass
class Meter:
    """Seconds and images of the steps, without what lies between them (kNN, checkpoints)."""

    images: int = 0
    waited_s: float = 0.0
    total_s: float = 0.0
    steps: int = 0

    def add(self, images: int, waited_s: float, total_s: float, steps: int = 1) -> None:
        """One step: its images on all ranks, the seconds it waited for its batch, and its seconds in all; or several."""
        self.images += images
        self.waited_s += waited_s
        self.total_s += total_s
        self.steps += steps

    def rates(self) -> dict[str, float]:
        """images_per_s, and data_wait: the share of the time spent waiting for batches, in [0, 1]."""
        total = max(self.total_s, 1e-9)
        return {"images_per_s": self.images / total, "data_wait": self.waited_s / total}


class Waiting:
    """The seconds in which a device had nothing to do because the next batch was not there.

    On the CPU those are the seconds that the loop waits. On CUDA the loop runs ahead of the device and may wait while that
    still computes; what counts is the time on the device between the end of a step and the arrival of the next batch.
    """

    def __init__(self, device: torch.device, event: Callable[[], Any] | None = None) -> None:
        """event: what makes CUDA's timing events, for tests."""
        self._event = event or (lambda: torch.cuda.Event(enable_timing=True))
        self._on_cuda = device.type == "cuda"
        self._ended: Any = None
        self._gaps: list[tuple[float, Any, Any]] = []
        self._seconds = 0.0

    def arrived(self, waited_s: float) -> None:
        """A batch is there, after the loop waited for it so long; its step has not been launched."""
        if not self._on_cuda or self._ended is None:
            self._seconds += waited_s
            return
        there = self._event()
        there.record()
        self._gaps.append((waited_s, self._ended, there))

    def launched(self) -> None:
        """All work of a step has been given to the device."""
        if self._on_cuda:
            self._ended = self._event()
            self._ended.record()

    def settle(self, done: bool) -> float:
        """The seconds since the last call that are known by now. done: the device has caught up, as after a look at the loss."""
        if done:
            self._seconds += sum(min(waited, max(0.0, end.elapsed_time(there) / 1000)) for waited, end, there in self._gaps)
            self._gaps.clear()
        seconds, self._seconds = self._seconds, 0.0
        return seconds


@dataclass
class Watch:
    """Notices, once, that the share of time spent waiting for batches passes a budget, in [0, 1]; 1 never does."""

    budget: float
    _before: int = 0
    _done: bool = False
    _window: Meter = field(default_factory=Meter)

    def add(self, lap: Meter) -> float:
        """The share over the window that these steps complete, where it passes the budget; else 0, and always once it did."""
        if self._done:
            return 0.0
        if self._before < WARM_UP_STEPS:
            self._before += lap.steps
            return 0.0
        self._window.add(lap.images, lap.waited_s, lap.total_s, lap.steps)
        if self._window.steps < WINDOW_STEPS or self._window.total_s < WINDOW_SECONDS:
            return 0.0
        share, self._window = self._window.rates()["data_wait"], Meter()
        return share if share > self.budget else 0.0

    def stop(self) -> None:
        """It has been said, here or on another rank."""
        self._done = True


class Progress:
    """The bar, or lines at least QUIET_SECONDS apart where the output is no terminal. Nothing at all if not `shown`."""

    def __init__(self, title: str, total: int, step: int, shown: bool = True) -> None:
        self.total = total
        self._shown = shown
        self._bar = None
        self._next_line = time.monotonic()
        if shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TextColumn("{task.fields[text]}"),
                       TimeRemainingColumn(compact=True))
            self._bar = Bar(*columns, console=Console(stderr=True), refresh_per_second=4)
            self._task = self._bar.add_task(title, total=total, completed=step, text="")
            self._bar.start()

    def advance(self, step: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def report(self, step: int, epoch: float, values: dict[str, float]) -> None:
        """Show loss, images/s and the data-wait share of the latest steps."""
        if not self._shown:
            return
        text = f"loss {values['loss']:.3f}  {values['images_per_s']:,.0f} images/s  data wait {values['data_wait']:.0%}"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, text=text)
        elif time.monotonic() >= self._next_line or step == self.total:
            self._next_line = time.monotonic() + QUIET_SECONDS
            print(f"step {step}/{self.total}  epoch {epoch:.2f}  {text}", flush=True)

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        elif self._shown:
            print(line, flush=True)

    def warn(self, line: str) -> None:
        """A line of its own, and a warning for whoever has set up logging; without, Python would print it a second time."""
        if self._shown and LOG.hasHandlers():
            LOG.warning(line)
        self.say(line)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
