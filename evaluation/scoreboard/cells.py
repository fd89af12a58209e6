"""The cells of the table: what each is made of, where it lies, and whether today's command and code would make the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...augment.draw import DRAW_VERSION
from ...augment.presets import recipe as named_recipe
from ...augment.recipe import Recipe
from ...models import method_info
from ...models.training.config import RunConfig
from ...models.training.overrides import plain
from .code import code_of
from .settings import PROTOCOLS, BenchConfig, Settings

Answers = dict[tuple[str, str], np.ndarray]
Kind = Literal["trained", "untrained", "pixels"]
Read = Callable[[Sequence[str]], tuple[RunConfig, Recipe]]
FORMAT = 1
SIGN = "key"  # of the folder that a cell is made in: whose it is

_UNNAMED = {"data", "out", "device", "torch_threads", "resume", "log_every", "data_wait_budget", "tensorboard", "report",
            "remote", "knn", "health", "checkpoint", "sync_bn"}
"""Keys of a run that move no weight: where, how fast, what is written; and over ranks, since a cell is trained by one process.
Of the loader's, only the order moves any."""
_ORDER = ("shuffle", "lanes", "window")

_RUNS = {"knn": ("evaluation.neighbours", "run"), "linear": ("evaluation.linear.protocol", "run"),
         "finetune": ("evaluation.finetune.protocol", "run"), "layers": ("evaluation.layers", "run")}
_STEPS = (("models.training.step", "learn"), ("models.training.step", "place"), ("models.training.step", "autocast_for"),
          ("models.training.optimizer", "build_optimizer"), ("models.training.schedule", "plan"))


@dataclass(frozen=True)
class Cell:
    """One arm with one seed, trained or not; or the raw pixels. configuration: all that decides its figures, but for the
    code, JSON-able. code: the hash of that; training_code: of what trains alone. words: of the training, as `viewmill train`
    takes them."""

    name: str
    kind: Kind
    method: str
    seed: int
    protocols: tuple[str, ...]
    configuration: dict[str, Any]
    code: str
    training_code: str = ""
    words: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Of configuration and code: another one means that a figure may differ."""
        return _digest([FORMAT, self.configuration, self.code])

    @property
    def training_key(self) -> str:
        """Of what decides the weights: while it stays, another way of judging needs no new training."""
        return _digest([FORMAT, self.configuration.get("training"), self.configuration["sources"]["train"], self.training_code])


def cells_of(settings: Settings, read: Read, data: Any, sources: dict[str, str]) -> list[Cell]:
    """All cells, in the order in which they are worth making: raw pixels, then seed after seed, an arm beside its untrained
    network. read: what turns the words of a training into a run. data: what is trained on. sources: fingerprints by part."""
    config = settings.config
    judged = _judged(config, sources)
    pixels = tuple(name for name in config.protocols if name in ("knn", "linear"))
    code = _told([*_seen(named_recipe("eval_bicubic")), *_judges(pixels)], config, pixels)
    cells = [Cell("pixels", "pixels", "", 0, pixels, _of(judged, pixels), code)] if pixels else []
    for seed in range(config.seeds):
        for arm in settings.arms:
            info = method_info(arm.method)
            protocols = tuple(name for name in PROTOCOLS if name in (*config.protocols, info.metric))
            words = (arm.method, f"data={_typed(data)}", *arm.words, f"seed={seed}")
            run, recipe = read(words)
            training = {key: value for key, value in plain(run).items() if key not in _UNNAMED}
            training |= {"recipe": recipe.to_dict(), "draws": DRAW_VERSION,
                         "loader": {name: training["loader"][name] for name in _ORDER}}
            trains = [*_seen(recipe), (f"models.{info.module}", info.cls), *_STEPS]
            code, training_code = _told([*trains, *_judges(protocols)], config, protocols), code_of(trains)
            kinds: tuple[Kind, ...] = ("untrained", "trained") if arm.untrained == arm.name else ("trained",)
            for kind in kinds:
                made = {**_of(judged, protocols), "kind": kind, "training": training}
                cells.append(Cell(f"{arm.name}-{kind}-{seed}", kind, arm.method, seed, protocols, made, code, training_code,
                                  words))
    return cells


def _judged(config: BenchConfig, sources: dict[str, str]) -> dict[str, Any]:
    """How features are judged, for all alike."""
    limits = ("max_images", "max_test_images", "finetune_images", "layers_images", "calibration_images")
    own = {name: value for name, value in plain(config).items() if name in (*PROTOCOLS, *limits)}
    return {**own, "sources": sources, "split": config.split}


def _of(judged: dict[str, Any], protocols: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in judged.items() if name not in PROTOCOLS or name in protocols} | {
        "protocols": list(protocols)}


def _seen(recipe: Recipe) -> list[tuple[str, str]]:
    """The code of a recipe's views."""
    ops = {type(op) for instance in recipe.instances for op in instance.ops}
    return [*((op.__module__.partition(".")[2], op.__name__) for op in ops), ("augment.draw", "draw")]


def _judges(protocols: Sequence[str]) -> list[tuple[str, str]]:
    return [*(("evaluation.untrained", name) for name in ("initialized", "calibrated", "raw_pixels")),
            *(_RUNS[name] for name in protocols)]


def _told(definitions: Sequence[tuple[str, str]], config: BenchConfig, protocols: Sequence[str]) -> str:
    """A hash of the code, and of the published numbers of judging: a configuration names whose they are, and has none of them."""
    numbers = {}
    for name in protocols:
        own = getattr(config, name)
        if hasattr(own, "protocol"):
            published = type(own)(protocol=own.protocol)  # whose warm-up and drops a run of other length stretches
            numbers[name] = [asdict(each.tuning() if hasattr(each, "tuning") else each.probe()) | {"source": ""}
                             for each in (own, published)]
    return _digest([code_of(definitions), numbers])


def _digest(said: Any) -> str:
    return blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=8).hexdigest()


def _typed(data: Any) -> str:
    return data if isinstance(data, str) else json.dumps([str(each) for each in data])


@dataclass(frozen=True)
class Made:
    """A cell as it was made. figures: {state: {protocol: {"top1", ...}}}, states "trained", or "initialized" and "calibrated", or
    "pixels". correct: {(state, protocol): (n,) bool over the test pictures}."""

    key: str
    figures: dict[str, dict[str, dict[str, Any]]]
    about: dict[str, Any]
    correct: Answers
    configuration: dict[str, Any]
    code: str

    def is_of(self, cell: Cell) -> bool:
        """Whether it was made by the cell's configuration, whatever the code."""
        return _decisive(self.configuration) == _decisive(json.loads(json.dumps(cell.configuration)))


def _decisive(configuration: dict[str, Any]) -> dict[str, Any]:
    """Without keys of the training that do not count today, though they did once."""
    training = configuration.get("training", {})
    return configuration | {"training": {name: value for name, value in training.items() if name not in _UNNAMED}}


class Store:
    """Cells on the disk: out/cells/NAME.json, and beside it the answers to every test picture; out/work/NAME while one is made,
    where trained ones leave their run."""

    def __init__(self, out: Path) -> None:
        self.cells, self.work = out / "cells", out / "work"

    def load(self, name: str) -> Made | None:
        """None where it was not made, or is not whole."""
        try:
            kept = json.loads((self.cells / f"{name}.json").read_text())
            with np.load(self.cells / kept["answers"]) as file:
                correct = {(title.split("/")[0], title.split("/")[1]): file[title] for title in file.files}
            return Made(kept["key"], kept["figures"], kept["about"], correct, kept["configuration"], kept["code"])
        except (OSError, ValueError, KeyError):
            return None

    def save(self, cell: Cell, figures: dict[str, Any], about: dict[str, Any], correct: Answers) -> None:
        """Whole or not at all: the answers first, under a name of their own; then the cell that names them."""
        self.cells.mkdir(parents=True, exist_ok=True)
        answers = self.cells / f"{cell.name}.{cell.key}.npz"
        temporary = self.cells / f".{cell.name}.{os.getpid()}"
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **{"/".join(title): value for title, value in correct.items()})  # type: ignore[arg-type]
        os.replace(temporary, answers)
        kept = {"cell": cell.name, "key": cell.key, "code": cell.code, "configuration": cell.configuration, "figures": figures,
                "about": about, "answers": answers.name}
        temporary.write_text(json.dumps(kept, indent=1) + "\n")
        os.replace(temporary, self.cells / f"{cell.name}.json")
        for old in self.cells.glob(f"{cell.name}.*.npz"):
            if old != answers:
                old.unlink(missing_ok=True)

    def state(self, cell: Cell) -> Literal["made", "stale", "missing"]:
        made = self.load(cell.name)
        return "missing" if made is None else "made" if made.key == cell.key else "stale"

    def begin(self, cell: Cell) -> Path:
        """The folder that a cell is made in: what an interruption left of the same cell is there, and the run where the same was
        trained; of others nothing."""
        folder, run = self.work / cell.name, self.work / f".{cell.name}.run"
        note = folder / SIGN
        before = note.read_text().split() if note.is_file() else []
        if before != [cell.key, cell.training_key]:
            if before[1:] == [cell.training_key] and (folder / "run").is_dir():
                shutil.rmtree(run, ignore_errors=True)
                os.replace(folder / "run", run)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            if run.is_dir():
                os.replace(run, folder / "run")
            self.sign(cell)
        return folder

    def sign(self, cell: Cell) -> None:
        """Say that what a cell was made in is this cell's."""
        folder = self.work / cell.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SIGN).write_text(f"{cell.key} {cell.training_key}\n")
