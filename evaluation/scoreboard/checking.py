"""Whether cells that other code has made would come out the same today: found out at a fraction of what making them costs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...models.training import metrics
from .cells import Cell, Made
from .judging import judged
from .making import Maker, origin

TIMED = ("images_per_s", "data_wait", "data_wait_run", "knn_seconds")
"""Of a line of metrics: what no two runs have in common. Nor do the counters of the data."""


class Checker:
    """Of each run the first seed is checked: its training is begun anew, `steps` steps long, and every number logged has to be
    the one that was kept; the weights that were kept, the untrained network and the pixels are judged anew, and every answer
    to every test picture has to be the same. Then the cell counts as made by today's code, and with it the run's other
    seeds that the same code had made. A cell of another configuration is never the same."""

    def __init__(self, maker: Maker, steps: int, say: Callable[[str], None]) -> None:
        self.maker, self.store, self.steps, self.say = maker, maker.store, steps, say

    def same(self, cell: Cell) -> bool:
        """Check a stale cell and, where it is the same, keep it as today's. Raises Interrupted."""
        made = self.store.load(cell.name)
        if made is None or not made.is_of(cell):
            return False
        if cell.seed > 0:
            first = self.store.load(f"{cell.name.rpartition('-')[0]}-0")
            if first is None or made.code not in first.about.get("same_code", []):
                return False
            how: dict[str, Any] = {"by": "seed 0"}
        else:
            why = self._differs(cell, made)
            if why is not None:
                self.say(f"{cell.name}: not the same: {why}")
                return False
            how = {"steps": self.steps} if cell.kind == "trained" else {}
        today = origin()
        about = made.about | {"same_code": [*made.about.get("same_code", []), made.code],
                              "checked": {"made": today["made"], "commit": today["commit"], **how}}
        self.store.save(cell, made.figures, about, made.correct)
        self.store.sign(cell)
        self.say(f"{cell.name}: the same as before")
        return True

    def _differs(self, cell: Cell, made: Made) -> str | None:
        """What does, in one line; None: nothing."""
        kept, folder = self.store.work / cell.name / "run", self.store.work / f"{cell.name}.check"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            if cell.kind == "trained":
                if not (kept / "metrics.jsonl").is_file():
                    return f"its run is not kept in {kept}"
                why = self._training(cell, kept, folder) or _unlike(kept, folder / "again", self.steps)
                if why is not None:
                    return why
                os.symlink(kept.resolve(), folder / "run")
            why = self.maker.judge(cell, folder)
            if why is not None:
                return f"judging: {why}"
            return _answers_differ(made.correct, judged(folder)[1])
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _training(self, cell: Cell, kept: Path, folder: Path) -> str | None:
        again = folder / "again"
        last = min(self.steps, max(row["step"] for row in metrics.read(kept / "metrics.jsonl")))
        why = self.maker.train(cell, again, folder, until=lambda: _reached(again, last))
        return None if why is None else f"training: {why}"


def _reached(run: Path, step: int) -> bool:
    return any(row["step"] >= step and row.get("loss") is not None for row in metrics.read(run / "metrics.jsonl"))


def _unlike(kept: Path, again: Path, steps: int) -> str | None:
    """The first number that two runs logged otherwise within so many steps, or None. A value that one of them alone logs, such
    as one of another name today, is no difference; but the loss is always compared."""
    one, two = ({row["step"]: row for row in metrics.read(run / "metrics.jsonl") if row.get("loss") is not None}
                for run in (kept, again))
    common = [step for step in sorted(one.keys() & two.keys()) if step <= max(steps, min(one))]
    if not common:
        return "the two trainings logged no step in common"
    for step in common:
        for name in sorted(one[step].keys() & two[step].keys()):
            if name not in TIMED and not name.startswith("data/") and one[step][name] != two[step][name]:
                return f"{name} at step {step} was {one[step][name]} and is {two[step][name]}"
    return None


def _answers_differ(one: Mapping[tuple[str, str], np.ndarray], two: Mapping[str, np.ndarray]) -> str | None:
    for (state, protocol), right in one.items():
        again = two.get(f"{state}/{protocol}")
        if again is None or not np.array_equal(right, again):
            other = "all" if again is None or len(again) != len(right) else int((right != again).sum())
            return f"{other} of {len(right)} answers of {state} {protocol}"
    return None
