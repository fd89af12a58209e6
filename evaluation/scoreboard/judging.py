"""One cell judged, in a process of its own: `python -m viewmill.evaluation.scoreboard.judging JOB.json`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...augment.presets import recipe as named_recipe
from ...augment.recipe import Recipe
from ...models import method_info
from ...models.training import process
from ...models.training.errors import verdict
from ...pipelines.source import open_source
from .. import finetune, layers, linear, neighbours
from ..encoder import Encoder
from ..opening import open_encoder
from ..pictures import Pictures
from ..task import Task
from ..untrained import calibrated, initialized, raw_pixels
from .settings import BenchConfig, config_of

_RUNS: dict[str, Callable[[Task, Any], dict[str, Any]]] = {
    "knn": neighbours.run, "linear": linear.run, "finetune": finetune.run, "layers": layers.run}
_KEPT = ("top1", "top5", "chosen", "layers", "k", "seconds")


def judge(job: dict[str, Any], config: BenchConfig) -> None:
    """job: kind, method, seed, protocols, data, test, folder, and of a method training (its fields and recipe). Writes
    folder/judged.json and .npz, {state: {protocol: figures}} and "state/protocol" answers; protocols that are there stay."""
    folder, world = Path(job["folder"]), process.start("auto")
    device = world.device
    torch_threads, threads = process.split_cores(process.cores(), 1, device.type == "cuda", config.torch_threads, config.threads)
    torch.set_num_threads(torch_threads)
    train, test = open_source(job["data"]), open_source(job["test"])
    shown = Pictures(test, config.max_test_images, f"test pictures {job['test']}", threads)
    limits = {"finetune": config.finetune_images, "layers": config.layers_images}
    taught: dict[int | None, Pictures] = {}

    def pictures(limit: int | None) -> Pictures:
        if limit not in taught:
            taught[limit] = Pictures(train, limit, f"data={job['data']}", threads)
        return taught[limit]

    figures, answers = judged(folder)
    for state, encoder in _encoders(job, config, pictures(config.max_images), device):
        tasks: dict[int | None, Task] = {}
        for name in job["protocols"]:
            if name in figures.get(state, {}):
                continue
            limit = limits.get(name, config.max_images)
            if limit not in tasks:
                tasks[limit] = Task(encoder, pictures(limit), shown, folder / state, world, threads, job["seed"])
            began = time.monotonic()
            process.seed_all(job["seed"])
            found = _RUNS[name](tasks[limit], getattr(config, name))
            found["seconds"] = round(time.monotonic() - began, 2)
            print(f"{state} {name}: {found['top1']:.4f} in {found['seconds']:.1f} s", flush=True)
            figures.setdefault(state, {})[name] = {title: found[title] for title in _KEPT if title in found}
            answers[f"{state}/{name}"] = found["correct"]
            _write(folder, figures, answers)


def _encoders(job: dict[str, Any], config: BenchConfig, train: Pictures, device: torch.device) -> Sequence[tuple[str, Encoder]]:
    if job["kind"] == "pixels":
        return [("pixels", raw_pixels(train, named_recipe("eval_bicubic")).to(device))]
    if job["kind"] == "trained":
        return [("trained", open_encoder(str(Path(job["folder"]) / "run")).to(device))]
    info = method_info(job["method"])
    known = {f.name for f in fields(info.config())}
    own = {name: tuple(value) if isinstance(value, list) else value for name, value in job["training"]["model"].items()}
    encoder = initialized(job["method"], info.config(**{name: own[name] for name in known & own.keys()}),
                          Recipe.from_dict(job["training"]["recipe"]), job["seed"]).to(device)
    with_norms = calibrated(encoder, train, config.calibration_images, device)
    return [("initialized", encoder)] + ([] if with_norms is None else [("calibrated", with_norms)])


def judged(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a cell's folder holds by now."""
    if not (folder / "judged.json").is_file():
        return {}, {}
    with np.load(folder / "judged.npz") as file:
        answers = {title: file[title] for title in file.files}
    figures = json.loads((folder / "judged.json").read_text())
    return figures, answers


def _write(folder: Path, figures: dict[str, Any], answers: dict[str, np.ndarray]) -> None:
    """The answers first: a protocol counts as done once its figures are there."""
    temporary = folder / f".judged.{os.getpid()}"
    with open(temporary, "wb") as file:
        np.savez_compressed(file, **answers)  # type: ignore[arg-type]
    os.replace(temporary, folder / "judged.npz")
    temporary.write_text(json.dumps(figures, indent=1) + "\n")
    os.replace(temporary, folder / "judged.json")


def main(path: str) -> int:
    try:
        job = json.loads(Path(path).read_text())
        judge(job, config_of(job["own"]))
        return 0
    except (Exception, KeyboardInterrupt) as error:
        status, line = verdict(error)
        print(line, file=sys.stderr, flush=True)
        return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
