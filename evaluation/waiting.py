"""`viewmill bench --diagnose METHOD ...`: what a training on this machine would wait for, measured before it begins."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..augment.recipe import Recipe
from ..models.training import process, schedule, step
from ..models.training.config import RunConfig
from ..pipelines.diagnosing import Run, examine
from ..pipelines.remote.options import Remote
from ..pipelines.source import open_source

Read = Callable[[Sequence[str]], tuple[RunConfig, Recipe]]


def main(words: Sequence[str], read: Read, open_loader: Callable[..., Any], remote_of: Callable[[RunConfig], Remote]) -> int:
    """words: METHOD and the keys of its training, of which out=FILE.json and seconds= are the diagnosis's own. read, open_loader,
    remote_of: a training's. Prints what was found, and returns the exit status. Raises ValueError, one line."""
    own = {key: text for key, _, text in (word.partition("=") for word in words) if key in ("seconds", "out")}
    try:
        seconds = float(own.get("seconds", "2"))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"seconds needs a number of at least 0, how long each measurement takes, got {own['seconds']!r}")
    if not own.get("out", ".json").endswith(".json"):
        raise ValueError(f"out={own['out']}: a diagnosis keeps its figures in out=FILE.json; leave the run's folder out")
    config, recipe = read([word for word in words if word.partition("=")[0] not in own])
    world = process.start(config.device)
    if world.size > 1:
        process.leave(world)
        raise ValueError("a diagnosis measures one rank: start it without torchrun, with batch_size= of one rank")
    source = open_source(config.data, remote=remote_of(config))
    schedule.plan(config, len(source))  # refuses a batch larger than the data
    on_cpu, cores = world.device.type == "cpu", process.cores()
    torch_threads, threads = process.split_cores(cores, 1, not on_cpu, config.torch_threads, config.loader.threads)
    torch.set_num_threads(torch_threads)
    take_step, weights = step.step_of(config, recipe, world, len(source))

    def opened(source: Any, recipe: Any, batch_size: int = config.batch_size, threads: int = threads, **loader: Any) -> Any:
        changed = replace(config, batch_size=batch_size, loader=replace(config.loader, **loader))
        return open_loader(changed, recipe, source, world, threads)

    title = f"{config.method}, {weights / 1e6:.2f} million weights, batches of {config.batch_size}, recipe {recipe}"
    report = examine(Run(title, source, recipe, config.batch_size, opened, take_step, world.device, cores, threads,
                         torch_threads), seconds, say=lambda line: print(line, flush=True))
    if "out" in own:
        Path(own["out"]).write_text(json.dumps(report.as_dict(), indent=1))
    return 0
