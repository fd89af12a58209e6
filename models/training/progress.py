"""What a run shows while it goes: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

QUIET_SECONDS = 10.0


@dataclass
class Meter:
    """Seconds and images of the steps, without what lies between them (kNN, checkpoints)."""

    images: int = 0
    waited_s: float = 0.0
    total_s: float = 0.0

    def add(self, images: int, waited_s: float, total_s: float) -> None:
        """One step: its images on all ranks, the seconds it waited for its batch, and its seconds in all."""
        self.images += images
        self.waited_s += waited_s
        self.total_s += total_s

    def rates(self) -> dict[str, float]:
        """images_per_s, and data_wait: the share of the time spent waiting for batches, in [0, 1]."""
        total = max(self.total_s, 1e-9)
        return {"images_per_s": self.images / total, "data_wait": self.waited_s / total}


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

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
