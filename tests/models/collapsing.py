"""Runs in which views have little in common, so that they are soonest made to agree by a collapse: whether the run's own watch
says so. Shared by the tests of methods without negatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from viewmill.evaluation.monitor import Monitor
from viewmill.models.method import Method
from viewmill.models.training.config import HealthConfig, OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn

from .batches import batch_of, random_views

EVERY, IMAGES, BATCH, SIDE = 20, 256, 32, 16


def _squares(count: int, across: int, generator: torch.Generator) -> Tensor:
    return F.interpolate(torch.randn(count, 3, across, across, generator=generator), size=SIDE)


def watched(method: Method, steps: int, rate: float = 0.3) -> tuple[str | None, dict[str, float]]:
    """(what is said of a collapse, if anything; the last measurement) of steps of 32 of 256 pictures: of 4 x 4 squares, and in
    each view twice as much noise of 2 x 2 squares, and of single pixels."""
    generator = torch.Generator().manual_seed(1)
    pictures = _squares(IMAGES, 4, generator)
    optimizer = build_optimizer(method, OptimizerConfig(name="sgd", lr=rate, scaling="none", weight_decay=1e-4, exclude="none"))
    monitor, said, row = Monitor(HealthConfig(every=EVERY), EVERY, steps, BATCH), None, {}
    for step in range(1, steps + 1):
        chosen = pictures[torch.randperm(IMAGES, generator=generator)[:BATCH]]
        noise = 2 * _squares(2 * BATCH, 2, generator) + 2 * torch.randn(2 * BATCH, 3, SIDE, SIDE, generator=generator)
        batch = batch_of(chosen + noise.unflatten(0, (2, BATCH)))
        values = method(batch)
        learn(method, optimizer, values["loss"], rate, None, 0.25 * step / steps)
        if step % EVERY == 0:
            row = {name: float(value.detach()) for name, value in values.items()} | monitor.measure(step, method, batch.views)
            said = said or monitor.verdict(row)
    return said, row


def watched_teacher(method: Method, noise: float, steps: int = 60,
                    masks: Callable[[int], np.ndarray] | None = None) -> tuple[str | None, dict[str, float]]:
    """(what is said of a collapse, if anything; the last measurement) of a method with a teacher, on 64 pictures of noise, in
    each view `noise` times as much more of it: the quickest that AdamW can learn is to let one prototype win. masks(step): those
    of both views, (2, 64, rows, columns)."""
    base = random_views(1, 64, SIDE)
    optimizer = build_optimizer(method, OptimizerConfig(name="adamw", lr=1e-3, scaling="none", weight_decay=0.0))
    monitor, said, row = Monitor(HealthConfig(every=10), 10, steps, 64), None, {}
    for step in range(1, steps + 1):
        batch = batch_of(base + noise * random_views(2, 64, SIDE, seed=step), None if masks is None else masks(step))
        values = method(batch)
        learn(method, optimizer, values["loss"], 1e-3, 3.0, 1e-6, clip_mode="per-tensor")
        if step % 10 == 0:
            row = {name: float(value.detach()) for name, value in values.items()} | monitor.measure(step, method, batch.views)
            said = said or monitor.verdict(row)
    return said, row
