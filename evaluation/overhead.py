"""`viewmill bench loop`: what a run's loop costs beside a bare loop of the same network, loss and optimizer."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..augment.recipe import Recipe
from ..models import build
from ..models.training import process
from ..models.training.config import RunConfig, describe, key
from ..models.training.manual import rows
from ..models.training.optimizer import build_optimizer, clip, set_decay, set_rate
from ..models.training.overrides import filled, split
from ..models.training.schedule import plan
from ..models.training.step import autocast_for, image_side, place
from ..models.views import Views
from ..pipelines.source import open_source

WARM_UP = 10
"""Pairs that do not count: first allocations, a loader that is ahead."""

LEAST_MS = 300.0
"""Of a step, for shares of a few per cent to be told from a machine's own noise."""

HEAD = f"""viewmill bench loop METHOD data=... [KEY=VALUE]...

Runs METHOD as `viewmill train` would, without kNN, checkpoints and report, and after each of its steps takes one of a bare loop:
the same network, loss, optimizer and schedule on the batch that is there. Steps alternate: what slows a machine slows both. Steps
of {LEAST_MS:.0f} ms at least say most: choose batch_size= so. All keys of the method's training, and
"""

Train = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class LoopConfig:
    pairs: int = key("steps of each that count, one after the other", 200)
    out: str | None = key("a file of all times, JSON", None)

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise ValueError(f"pairs needs a whole number of at least 1, got {self.pairs}")


class BareLoop:
    """Called by a run at the end of each of its steps, with that step's batch: takes one of its own.

    loop_s, bare_s: seconds of each pair's two steps; ema_s: of the latter, those after the optimizer's update, in which teachers
    follow. method: the network, with the weights of a run that has taken the same steps.
    """

    def __init__(self, config: RunConfig, recipe: Recipe, images: int, world: process.World) -> None:
        self.config, self.device, self.steps = config, world.device, plan(config, images)
        process.seed_all(config.seed)
        method = build(config.method, config.model, image_px=image_side(recipe), images=images)
        self.method = place(method, config, world)
        self.optimizer = build_optimizer(self.method, config.optimizer)
        self.autocast = autocast_for(config.precision, world.device)
        self.loop_s: list[float] = []
        self.bare_s: list[float] = []
        self.ema_s: list[float] = []
        self._ended: float | None = None

    def __call__(self, batch: Views) -> None:
        began = self._now()
        if self._ended is not None:
            self.loop_s.append(began - self._ended)
        updated = self._step(batch, len(self.bare_s))
        self._ended = self._now()
        self.bare_s.append(self._ended - began)
        self.ema_s.append(self._ended - updated)

    def _step(self, batch: Views, number: int) -> float:
        """When the weights had moved."""
        of, steps = self.config, self.steps
        self.method.before_step(steps.epoch(number))
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            loss = self.method(batch)["loss"]
        loss.backward()
        self.method.after_backward()
        clip(self.method, of.clip_grad, of.clip_mode)
        set_rate(self.optimizer, steps.rate(number), steps.peak)
        decay = steps.decay(number)
        if decay is not None:
            set_decay(self.optimizer, decay)
        self.optimizer.step()
        updated = self._now()
        self.method.after_step((number + 1) / steps.total)
        return updated

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def main(words: Sequence[str], read: Callable[[Sequence[str]], tuple[RunConfig, Recipe]], train: Train) -> int:
    """Measure and print; read and train: of `viewmill.train`. Raises ValueError, one line."""
    if {"--help", "-h"} & set(words) or not words:
        print("\n".join([HEAD, *rows(describe(LoopConfig))]))
        return 0
    own = {"pairs", "out"}
    config = filled(LoopConfig(), [split(word) for word in words if word.partition("=")[0] in own])
    run, recipe = read([word for word in words if word.partition("=")[0] not in own])
    found = measured(config, run, recipe, train)
    if config.out is not None:
        Path(config.out).write_text(json.dumps(found, indent=1) + "\n")
    print(in_words(found), flush=True)
    return 0


def measured(config: LoopConfig, run: RunConfig, recipe: Recipe, train: Train) -> dict[str, list[float]]:
    """{"loop_s", "bare_s", "ema_s": of each pair that counts}. Raises ValueError for several ranks, and for parts of a batch."""
    if run.accumulate > 1 or run.precision == "fp16":
        raise ValueError("a bare loop takes a batch in one pass and scales no loss; leave accumulate= and precision=fp16 out")
    world = process.start(run.device)
    if world.size > 1:
        process.leave(world)
        raise ValueError("one rank is measured: start it without torchrun, with batch_size= of one rank")
    with tempfile.TemporaryDirectory(prefix="viewmill-loop-") as out:
        once = replace(run, out=out, steps=config.pairs + WARM_UP + 1, report=False, resume="never",
                       epochs=max(run.epochs, 10**6 // max(run.batch_size, 1)), knn=replace(run.knn, test_data=None),
                       checkpoint=replace(run.checkpoint, minutes=None, steps=None, epochs=None))
        bare = BareLoop(once, recipe, len(open_source(once.data)), world)
        train(once, recipe, between=bare)
    # The first step of a run has nobody before it; the last is one more than its pair needs.
    counted = slice(WARM_UP, WARM_UP + config.pairs)
    return {"loop_s": bare.loop_s[counted], "bare_s": bare.bare_s[1:][counted], "ema_s": bare.ema_s[1:][counted]}


def in_words(found: dict[str, list[float]]) -> str:
    loop, bare, ema = (found[name] for name in ("loop_s", "bare_s", "ema_s"))
    ratios = sorted(a / b for a, b in zip(loop, bare, strict=True))
    shares = sorted(a / b for a, b in zip(ema, bare, strict=True))
    low, high = ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]
    ms = 1000 * statistics.median(bare)
    lines = [f"pairs      {len(ratios)}, of steps of {ms:,.0f} ms (bare, median)",
             f"loop       {statistics.median(ratios):.3f} times a bare loop's step (median of the pairs; middle half {low:.3f} "
             f"to {high:.3f})",
             f"averages   {statistics.median(shares):.2%} of a bare step come after the optimizer's update: teachers that follow"]
    if ms < LEAST_MS:
        lines.append(f"short      steps below {LEAST_MS:.0f} ms: a larger batch_size= says more")
    return "\n".join(lines)
