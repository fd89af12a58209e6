"""How far a long command has come, for whoever watches."""

from __future__ import annotations

import sys
from typing import Any


class Progress:
    """A bar on stderr, where that is a terminal; nothing elsewhere. As text: where it stands."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._title, self._done, self._total = "starting", 0, 0

    def __str__(self) -> str:
        return f"{self._title} ({self._done:,} of {self._total:,})" if self._total else self._title

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """A new bar in place of the last one. total: of whatever is counted."""
        self._end()
        self._title, self._done, self._total = title, done, total
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TextColumn("{task.fields[text]}"),
                   TimeRemainingColumn(compact=True))
        self._bar = Bar(*columns, console=Console(stderr=True), refresh_per_second=4, transient=True)
        self._task = self._bar.add_task(title, total=total, completed=done, text="")
        self._bar.start()

    def advance(self, done: int, text: str = "") -> None:
        self._done = done
        if self._bar is not None:
            self._bar.update(self._task, completed=done, text=text)

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
