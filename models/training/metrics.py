"""What a run writes down: metrics.jsonl, one object a line; the same for TensorBoard; curves.png at the end."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import IO, Any


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file, oldest first. A last line that a crash cut off is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def cut(path: Path, step: int) -> None:
    """Keep only the lines up to `step`: what came after it in a run that died is about to happen again."""
    if not path.is_file():
        return
    kept = [json.dumps(row) for row in read(path) if row.get("step", 0) <= step]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text("".join(line + "\n" for line in kept))
    os.replace(temporary, path)


class Metrics:
    """Appends lines to out/metrics.jsonl and scalars to out/tensorboard, from `step` on.

    Each line has "step" (steps done when it was written) and "epoch" (the same, in epochs), then the values.
    """

    def __init__(self, out: Path, step: int, tensorboard: bool) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / "metrics.jsonl"
        cut(self.path, step)
        self._file: IO[str] = open(self.path, "a", buffering=1)  # noqa: SIM115 (lives as long as the run)
        self._board: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, step: int, epoch: float, values: dict[str, float]) -> None:
        # JSON has no NaN: such a value is a null, so that every line stays readable everywhere.
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": step, "epoch": round(epoch, 6), **finite}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def draw_curves(out: Path) -> Path | None:
    """out/curves.png from out/metrics.jsonl: loss, kNN where there is one, learning rate, health where it was measured, over
    epochs. None without lines."""
    rows = read(out / "metrics.jsonl")
    losses = [(row["epoch"], row["loss"]) for row in rows if row.get("loss") is not None]
    if not losses:
        return None
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    panels = {"loss": losses, "learning rate": [(r["epoch"], r["lr"]) for r in rows if r.get("lr") is not None]}
    accuracy = [(r["epoch"], r["knn"]) for r in rows if r.get("knn") is not None]
    if accuracy:
        panels = {"loss": losses, "kNN accuracy": accuracy, "learning rate": panels["learning rate"]}
    for name, title in (("std", "standard deviation of features"), ("rankme", "RankMe")):
        points = [(r["epoch"], r[f"health_{name}"]) for r in rows if r.get(f"health_{name}") is not None]
        panels |= {title: points} if len(points) > 1 else {}
    figure = Figure(figsize=(4.2 * len(panels), 3.2), layout="constrained")
    for number, (title, points) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(1, len(panels), number)
        seldom = title not in ("loss", "learning rate")
        style = {"marker": "o", "markersize": 3} if seldom else {"alpha": 0.35 if title == "loss" else 1.0}
        axes.plot(*zip(*points, strict=True), linewidth=1.2, color="C0", **style)
        if title == "loss":
            axes.plot([p[0] for p in points], _smooth([p[1] for p in points]), linewidth=1.6, color="C0")
        if title == "kNN accuracy":
            for name, label, dashes in (("knn_raw_pixels", "raw pixels", ":"), ("knn_untrained", "untrained", "--")):
                level = next((row[name] for row in rows if row.get(name) is not None), None)
                if level is not None:
                    axes.axhline(level, linestyle=dashes, linewidth=1, color="0.4", label=label)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(frameon=False, fontsize=8)
        axes.set(title=title, xlabel="epoch")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
    path = out / "curves.png"
    figure.savefig(path, dpi=140)
    return path


def _smooth(values: list[float]) -> list[float]:
    """A running mean that weighs about a twentieth of the curve."""
    keep = 1 - 1 / max(len(values) / 20, 1)
    mean, out = values[0], []
    for value in values:
        mean = keep * mean + (1 - keep) * value
        out.append(mean)
    return out


def latest(path: Path, *names: str) -> dict[str, float]:
    """The last value that a metrics file has of each name; names it never has are left out."""
    found: dict[str, float] = {}
    for row in read(path):
        found |= {name: row[name] for name in names if row.get(name) is not None}
    return found
