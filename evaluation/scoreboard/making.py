"""Makes cells, one after the other, each training and each judging in a process of its own, which a signal leaves resumable."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...models.training import metrics, process, provenance
from ...pipelines.bench.machine import machine, versions
from .cells import Cell, Store
from .judging import judged

LOCK_SECONDS = 60.0
"""How long the child of a bench that was killed may take to save and end, before its folder is taken over."""

GRACE_SECONDS = 60.0
LAST = 0.1  # of a run's lines, by whose mean its pretext accuracy is told


@dataclass(frozen=True)
class Failed:
    """A cell that could not be made, and why, in one line."""

    name: str
    why: str


class Interrupted(Exception):
    """A signal came; what was under way is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Maker:
    """stop: where a signal leaves its note. own: the words that the configuration is made of, for the child that judges."""

    def __init__(self, store: Store, data: Any, test: Any, own: Sequence[str], train_words: Sequence[str], stop: process.Stop,
                 say: Callable[[str], None]) -> None:
        self.store, self.data, self.test, self.own = store, data, test, list(own)
        self.train_words, self.stop, self.say = tuple(train_words), stop, say

    def make(self, cell: Cell) -> Failed | None:
        """Train where there is something to train, judge, keep. Raises Interrupted."""
        folder = self.store.begin(cell)
        began = time.monotonic()
        why = self.train(cell, folder / "run", folder) if cell.kind == "trained" else None
        if why is not None:
            return Failed(cell.name, f"training: {why}")
        why = self.judge(cell, folder)
        if why is not None:
            return Failed(cell.name, f"judging: {why}")
        figures, answers = judged(folder)
        about = origin() | {"judging_s": round(sum(f["seconds"] for each in figures.values() for f in each.values()), 1),
                            "making_s": round(time.monotonic() - began, 1)}
        if cell.kind == "trained":
            about |= run_facts(folder / "run")
        self.store.save(cell, figures, about, {tuple(title.split("/")): right for title, right in answers.items()})  # type: ignore[misc]
        self.say(f"{cell.name}: made in {time.monotonic() - began:.0f} s")
        return None

    def train(self, cell: Cell, run: Path, folder: Path, until: Callable[[], bool] | None = None) -> str | None:
        """A cell's training, into the folder `run`; its log into `folder`. Why it failed, or None. until: once true, it is
        stopped."""
        _wait_for(run)
        words = [*cell.words, f"out={run}", *self.train_words]
        return self._child("train", [sys.executable, "-m", "viewmill.train", *words], folder, until)

    def judge(self, cell: Cell, folder: Path) -> str | None:
        """Judge folder/run, or what a cell without one stands for, into folder. Why it failed, or None."""
        job = {"kind": cell.kind, "method": cell.method, "seed": cell.seed, "protocols": list(cell.protocols), "data": self.data,
               "test": self.test, "folder": str(folder), "training": cell.configuration.get("training"), "own": self.own}
        (folder / "job.json").write_text(json.dumps(job))
        command = [sys.executable, "-m", "viewmill.evaluation.scoreboard.judging", str(folder / "job.json")]
        return self._child("judge", command, folder)

    def _child(self, what: str, command: list[str], folder: Path, until: Callable[[], bool] | None = None) -> str | None:
        """None where it did its work, else its last words. A signal to us is handed on, once: it then saves, and so do we."""
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
        with open(folder / f"{what}.log", "a+") as log:
            begins = log.seek(0, os.SEEK_END)
            # In a session of its own: of Ctrl-C it hears through us alone, as a second one would end it before it has saved.
            child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment,
                                     start_new_session=True, preexec_fn=_end_with_parent)
            told = 0.0
            while (status := child.poll()) is None:
                if self.stop.signal and not told:
                    told = time.monotonic()
                    child.send_signal(self.stop.signal)
                elif not told and until is not None and until():
                    told = time.monotonic()
                    child.terminate()
                elif told and time.monotonic() - told > GRACE_SECONDS:
                    child.kill()
                time.sleep(0.05)
            if self.stop.signal:
                raise Interrupted(self.stop.signal)
            log.seek(begins)
            said = log.read().strip().splitlines()
        return None if status == 0 else (said[-1].removeprefix("viewmill: ") if said else f"it ended with status {status}")


def run_facts(run: Path) -> dict[str, Any]:
    """images_per_s and data_wait over a run, "training_s", "steps", "pretext" where it has an accuracy of its own task, and its
    last health."""
    rows = [row for row in metrics.read(run / "metrics.jsonl") if row.get("loss") is not None]
    config = json.loads((run / "config.json").read_text())["config"]
    before = [0, *(row["step"] for row in rows)]
    seconds = [(row["step"] - step) * config["batch_size"] / row["images_per_s"] for row, step in zip(rows, before, strict=False)]
    facts: dict[str, Any] = {"training_s": round(sum(seconds), 1), "steps": rows[-1]["step"],
                             "images_per_s": round(rows[-1]["step"] * config["batch_size"] / sum(seconds), 1),
                             "data_wait": round(sum(row["data_wait"] * s for row, s in zip(rows, seconds, strict=True))
                                                / sum(seconds), 4)}
    last = [row["accuracy"] for row in rows[-max(round(LAST * len(rows)), 1):] if row.get("accuracy") is not None]
    if last:
        facts["pretext"] = round(sum(last) / len(last), 4)
    healthy = [row for row in rows if "health_std" in row]
    facts["health"] = {} if not healthy else {name: round(value, 4) for name, value in healthy[-1].items()
                                              if name.startswith(("health_", "embed_")) and value is not None}
    return facts


def origin() -> dict[str, Any]:
    """Where and when, and by which versions a cell is made."""
    seen, made_by = machine(), versions(["timm"])
    return {"made": time.strftime("%Y-%m-%d %H:%M", time.gmtime()), "commit": provenance.commit(),
            "cpu": seen["cpu"], "cores": seen["cores"], **{name: made_by.get(name) for name in ("viewmill", "torch", "timm")}}


def _wait_for(run: Path) -> None:
    """Until no other process writes to a run's folder. Raises ValueError where it goes on."""
    limit = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            with process.alone_in(run):
                return
        except ValueError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.2)


def _end_with_parent() -> None:
    """In the child, on Linux: SIGTERM when the bench dies, however it dies."""
    if platform.system() == "Linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
