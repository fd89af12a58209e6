"""What the folder of a run holds, read for a report: nothing in it is changed, and nothing but JSON is read of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...models.training import metrics
from .recipes import expanded
from .secrets import without_secrets


@dataclass(frozen=True)
class Run:
    """folder: as it was named. name: what sets it apart from the others, place: which of them it is. about: its config.json.
    rows: its metrics, oldest first. starts: a line for each time that it was started or went on. results: of eval/*.json, by
    file name."""

    folder: Path
    name: str
    place: int
    about: dict[str, Any]
    rows: list[dict[str, Any]]
    starts: list[dict[str, Any]]
    results: dict[str, dict[str, Any]]

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = self.about["config"]
        return config

    @property
    def method(self) -> str:
        return str(self.config.get("method", "a run"))

    @property
    def total(self) -> int:
        """Steps that it was to do."""
        return int(self.about.get("steps", {}).get("total") or self.step)

    @property
    def step(self) -> int:
        """Steps done, as far as its log says."""
        return max((row.get("step", 0) for row in self.rows), default=0)

    @cached_property
    def laps(self) -> list[tuple[float, float]]:
        """(seconds, share of them spent waiting for data) of the steps between two lines of the log."""
        found, before = [], 0
        for row in self.rows:
            if row.get("images_per_s") and row["step"] > before:
                seconds = (row["step"] - before) * self.config["batch_size"] / row["images_per_s"]
                found.append((seconds, row.get("data_wait") or 0.0))
                before = row["step"]
        return found

    @property
    def seconds(self) -> float:
        """Of its steps, without what lay between them."""
        return sum(seconds for seconds, _ in self.laps)

    @property
    def data_wait(self) -> float | None:
        """The share of those seconds in which it waited for data."""
        return sum(seconds * share for seconds, share in self.laps) / self.seconds if self.laps else None

    @property
    def images_per_s(self) -> float | None:
        return self.step * self.config["batch_size"] / self.seconds if self.laps else None

    def points(self, name: str) -> list[tuple[int, float, float]]:
        """(step, epoch, value) wherever the log has that value, and it is a number."""
        return [(row["step"], row["epoch"], row[name]) for row in self.rows if isinstance(row.get(name), int | float)]

    def last(self, name: str) -> float | None:
        """The newest value of that name."""
        return next((row[name] for row in reversed(self.rows) if isinstance(row.get(name), int | float)), None)

    def flat(self) -> dict[str, Any]:
        """Every key of its configuration and of its recipe, of which each copy of a view has its own."""
        return flat(self.config) | expanded(self.about.get("recipe", {}))


def read(folders: Sequence[str | Path]) -> list[Run]:
    """Raises ValueError, one line, where a folder is not a run's."""
    paths = [Path(folder) for folder in folders]
    return [_read(path, name, place) for place, (path, name) in enumerate(zip(paths, names(paths), strict=True))]


def names(paths: Sequence[Path]) -> list[str]:
    """What sets folders apart: their paths without the parts that all begin or end with; the whole path of one alone."""
    parts = [list(path.parts) for path in paths]
    if len({tuple(each) for each in parts}) < 2:
        return [str(path) for path in paths]
    for end in (0, -1):
        while all(len(each) > 1 for each in parts) and len({each[end] for each in parts}) == 1:
            for each in parts:
                each.pop(end)
    return ["/".join(each) for each in parts]


def _read(folder: Path, name: str, place: int) -> Run:
    about = _config(folder)
    results = {}
    for path in sorted((folder / "eval").glob("*.json")):
        try:
            said = json.loads(path.read_text())
        except (OSError, ValueError):
            continue  # half written, or somebody else's
        told = isinstance(said, dict) and (isinstance(said.get("config"), dict) or isinstance(said.get("command"), str))
        if told and isinstance(said.get("eval"), str):
            results[path.name] = said
    rows = [row for row in metrics.read(folder / "metrics.jsonl") if isinstance(row, dict) and "step" in row and "epoch" in row]
    starts = [row for row in metrics.read(folder / "starts.jsonl") if isinstance(row, dict)]
    return Run(folder, name, place, about, rows, starts, results)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        about = json.loads(path.read_text())
        if not isinstance(about["config"]["batch_size"], int):
            raise TypeError("batch_size is no number")
    except FileNotFoundError:
        inner = sorted(found.parent for found in folder.glob("*/config.json"))
        way_out = f"did you mean {inner[0]}?" if inner else "name the folder that `viewmill train ... out=FOLDER` wrote"
        raise ValueError(f"{folder} is no folder of a run, it has no config.json; {way_out}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}: {error}); it should be what a run wrote") from error
    found: dict[str, Any] = about
    return found


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optimizer": {"lr": 1}} as {"optimizer.lr": 1}; secrets are left out of the values."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and name != "storage_options":
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = without_secrets(name, value)
    return found
