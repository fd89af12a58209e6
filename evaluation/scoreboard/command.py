"""`viewmill bench methods`: makes what is missing or stale, cell after cell, and writes the table after each."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...models.training import process
from ...pipelines.source import open_source
from . import studies
from .cells import Cell, Read, Store, cells_of
from .checking import Checker
from .making import Failed, Interrupted, Maker
from .settings import BenchConfig, Settings, manual, parts, read
from .table import in_markdown, table_of

TRAIN_WORDS = ("tensorboard=false", "report=false", "checkpoint.minutes=1", "checkpoint.keep=1")
"""Of every training, none of which moves a weight."""


def main(words: Sequence[str], read_run: Read) -> int:
    """0: every cell is made; 1: some could not be; 130 or 0 after SIGINT or SIGTERM, resumable. read_run: `train.read`."""
    if not words or {"--help", "-h"} & set(words):
        print(manual())
        return 0
    return make(read(words), read_run)


def study(words: Sequence[str], read_run: Read) -> int:
    """`viewmill bench study`: the same for the runs of an ablation."""
    if not words or {"--help", "-h"} & set(words):
        print(studies.manual())
        return 0
    return make(studies.read(words), read_run)


def make(settings: Settings, read_run: Read) -> int:
    """Any table."""
    out = Path(settings.config.out)
    with process.alone_in(out):
        return _main(settings, out, read_run)


def _main(settings: Settings, out: Path, read_run: Read) -> int:
    data, test = parts(settings.config)
    sources = {"train": open_source(data).fingerprint, "test": open_source(test).fingerprint}
    cells, store = cells_of(settings, read_run, data, sources), Store(out)
    todo = [cell for cell in cells if _due(store, cell, settings.config)]
    _say(f"table      {out / 'table.md'}: {len(cells)} cells, {len(todo)} to be made")
    failed: list[Failed] = []
    with process.stop_signals() as stop:
        maker = Maker(store, data, test, settings.own, _train_words(settings.config), stop, _say)
        checker = Checker(maker, settings.config.check_steps, _say) if settings.config.stale == "check" else None
        try:
            for number, cell in enumerate(todo, 1):
                _say(f"{cell.name}: {number} of {len(todo)}")
                same = checker is not None and store.state(cell) == "stale" and checker.same(cell)
                problem = None if same else maker.make(cell)
                if problem is not None:
                    failed.append(problem)
                    _say(f"{problem.name}: failed: {problem.why}")
                write(out, table_of(settings, cells, store, failed))
                if stop.signal:
                    raise Interrupted(stop.signal)
        except Interrupted as interrupted:
            table = table_of(settings, cells, store, failed)
            write(out, table)
            left = len(table["missing"]) + (0 if table["kept"] else len(table["stale"]))
            _say(f"stopped by {interrupted}, {left} of {len(cells)} cells are left; to go on, give the same command again: "
                 f"viewmill bench {shlex.join(settings.typed)}")
            return 130 if interrupted.number == signal.SIGINT else 0
    table = table_of(settings, cells, store, failed)
    write(out, table)
    print(in_markdown(table), flush=True)
    return 1 if failed else 0


def write(out: Path, table: dict[str, Any]) -> None:
    """out/table.json and out/table.md, each whole or not at all."""
    for name, text in (("table.json", json.dumps(table, indent=1) + "\n"), ("table.md", in_markdown(table))):
        temporary = out / f".{name}.{os.getpid()}"
        temporary.write_text(text)
        os.replace(temporary, out / name)


def _due(store: Store, cell: Cell, config: BenchConfig) -> bool:
    state = store.state(cell)
    return state == "missing" or (state == "stale" and config.stale != "keep")


def _train_words(config: BenchConfig) -> tuple[str, ...]:
    return (*TRAIN_WORDS, *([] if config.torch_threads is None else [f"torch_threads={config.torch_threads}"]),
            *([] if config.threads is None else [f"loader.threads={config.threads}"]))


def _say(line: str) -> None:
    print(line, flush=True)
