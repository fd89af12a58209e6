"""`viewmill bench methods`: makes what is missing or stale, cell after cell, and writes the table after each."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...models.training import process
from ...pipelines.source import open_source
from .cells import Cell, Read, Store, cells_of
from .checking import Checker
from .making import Failed, Interrupted, Maker
from .settings import BenchConfig, Settings, manual, parts, read
from .table import in_markdown, table_of

TRAIN_WORDS = ("tensorboard=false", "report=false", "checkpoint.minutes=1", "checkpoint.keep=1")
"""Of every training, none of which moves a weight."""


@dataclass(frozen=True)
class Course:
    """How a table is made, where not each cell comes after the other. hold: before each cell, why it is not to be made, or None.
    publish: writes what is there into the folder, and returns it for people; final: nothing is to come. of: which cells are made,
    by number. lock: beneath the folder, what nobody else may be at work in."""

    hold: Callable[[Cell, Sequence[Cell], Store], str | None] = lambda cell, cells, store: None
    publish: Callable[[Path, dict[str, Any], Sequence[Cell], Store, bool], str] | None = None
    of: Callable[[int], bool] = lambda number: True
    lock: str = ""


def main(words: Sequence[str], read_run: Read) -> int:
    """0: every cell is made; 1: some could not be; 130 or 0 after SIGINT or SIGTERM, resumable. read_run: `train.read`."""
    if not words or {"--help", "-h"} & set(words):
        print(manual())
        return 0
    return make(read(words), read_run)


def make(settings: Settings, read_run: Read, course: Course = Course()) -> int:
    """Any table."""
    out = Path(settings.config.out)
    with process.alone_in(out / course.lock):
        return _main(settings, out, read_run, course)


def _main(settings: Settings, out: Path, read_run: Read, course: Course) -> int:
    data, test = parts(settings.config)
    sources = {"train": open_source(data).fingerprint, "test": open_source(test).fingerprint}
    cells, store = cells_of(settings, read_run, data, sources), Store(out)
    todo = [cell for number, cell in enumerate(cells) if course.of(number) and _due(store, cell, settings.config)]
    _say(f"table      {out / 'table.md'}: {len(cells)} cells, {len(todo)} to be made")
    failed: list[Failed] = []

    def publish(final: bool) -> tuple[dict[str, Any], str]:
        table = table_of(settings, cells, store, failed)
        return table, (course.publish or write)(out, table, cells, store, final)

    with process.stop_signals() as stop:
        maker = Maker(store, data, test, settings.own, _train_words(settings.config), stop, _say)
        checker = Checker(maker, settings.config.check_steps, _say) if settings.config.stale == "check" else None
        held = ""
        try:
            for number, cell in enumerate(todo, 1):
                if (why := course.hold(cell, cells, store)) is not None:
                    held = _held(cell, why, held)
                    continue
                _say(f"{cell.name}: {number} of {len(todo)}")
                same = checker is not None and store.state(cell) == "stale" and checker.same(cell)
                problem = None if same else maker.make(cell)
                if problem is not None:
                    failed.append(problem)
                    _say(f"{problem.name}: failed: {problem.why}")
                publish(False)
                if stop.signal:
                    raise Interrupted(stop.signal)
        except Interrupted as interrupted:
            table, _ = publish(True)
            left = len(table["missing"]) + (0 if table["kept"] else len(table["stale"]))
            _say(f"stopped by {interrupted}, {left} of {len(cells)} cells are left; to go on, give the same command again: "
                 f"viewmill {shlex.join(settings.typed)}")
            return 130 if interrupted.number == signal.SIGINT else 0
    print(publish(True)[1], flush=True)
    return 1 if failed else 0


def _held(cell: Cell, why: str, before: str) -> str:
    """Say why a cell is left out, once for all that are for one reason."""
    if why != before:
        _say(f"{cell.name}: left out: {why}")
    return why


def write(out: Path, table: dict[str, Any], cells: Sequence[Cell], store: Store, final: bool) -> str:
    """out/table.json and out/table.md; the second."""
    said = in_markdown(table)
    put(out / "table.json", json.dumps(table, indent=1) + "\n")
    put(out / "table.md", said)
    return said


def put(path: Path, text: str) -> None:
    """A file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)


def _due(store: Store, cell: Cell, config: BenchConfig) -> bool:
    state = store.state(cell)
    return state == "missing" or (state == "stale" and config.stale != "keep")


def _train_words(config: BenchConfig) -> tuple[str, ...]:
    return (*TRAIN_WORDS, *([] if config.torch_threads is None else [f"torch_threads={config.torch_threads}"]),
            *([] if config.threads is None else [f"loader.threads={config.threads}"]))


def _say(line: str) -> None:
    print(line, flush=True)
