"""A short run on images whose views are noisy copies: its values, step by step, and what its own watch says of a collapse."""

from __future__ import annotations

from viewmill.evaluation.monitor import Monitor
from viewmill.models.method import Method
from viewmill.models.training.config import HealthConfig, OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn

from .batches import batch_of, random_views

IMAGES, SIDE, EVERY, RATE = 32, 16, 20, 1e-2


def trained(method: Method, steps: int) -> tuple[dict[str, list[float]], list[str]]:
    """AdamW at 1e-2. Values by name, with the features' and embeddings' health every 20 steps; what was said."""
    optimizer = build_optimizer(method, OptimizerConfig(name="adamw", lr=RATE, scaling="none", weight_decay=1e-4))
    monitor, base = Monitor(HealthConfig(every=EVERY), EVERY, steps, IMAGES), random_views(1, IMAGES, SIDE)
    told: dict[str, list[float]] = {}
    said = []
    for step in range(1, steps + 1):
        batch = batch_of(base + 0.5 * random_views(2, IMAGES, SIDE, seed=step))
        values = method(batch)
        learn(method, optimizer, values["loss"], RATE, None, step / steps)
        row = {name: float(value.detach()) for name, value in values.items()}
        if step % EVERY == 0:
            row |= monitor.measure(step, method, batch.views)
            said += [message] if (message := monitor.verdict({**row, "lr": RATE})) else []
        for name, value in row.items():
            told.setdefault(name, []).append(value)
    return told, said
