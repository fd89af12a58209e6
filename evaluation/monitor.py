"""Health of a run's features, now and then while it trains, on images of the batch that is there anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from ..models.method import Method
from ..models.training.config import HealthConfig
from .collapse import CollapseWatch
from .features import evaluating
from .health import spread


class Monitor:
    """Measures at lines of the log, and says once where the measurements tell of a collapse.

    The first line of the log is measured, which tells where the run began; then the first line after each config.every steps;
    and the last. Which steps those are depends on nothing else, so a resumed run has the same.
    """

    def __init__(self, config: HealthConfig, log_every: int, total: int, batch: int,
                 earlier: Iterable[Mapping[str, Any]] = ()) -> None:
        """batch: images of this rank. earlier: lines of the log that the run wrote before it was resumed, oldest first."""
        self.config, self.log_every, self.total = config, log_every, total
        self.watch = CollapseWatch(min(config.images, batch))
        for row in earlier:
            self.watch.add(row)

    def due(self, step: int) -> bool:
        """Whether the line of the log after `step` steps has health. step: one that has a line."""
        if self.config.every == 0:
            return False
        before = (step - 1) // self.log_every * self.log_every  # the step of the line before
        return before == 0 or step == self.total or step // self.config.every > before // self.config.every

    def measure(self, step: int, method: Method, views: Mapping[str, Tensor],
                autocast: Callable[[], AbstractContextManager[Any]] = nullcontext) -> dict[str, float]:
        """health_* of the method's features, embed_* of its embeddings where it has any; nothing where it is not due.

        views: as in a batch, {group: (V, N, C, H, W)}. Of those that the method's features take, two views of config.images
        images are looked at, one where there is one; less than two images say nothing.
        """
        group = method.shown(views)[:2, : self.config.images]
        if not self.due(step) or group.shape[1] < 2:
            return {}
        values: dict[str, float] = {}
        # A method may draw at random in its forward pass: what is drawn here must not be missing there.
        drawing_on = [group.device] if group.device.type == "cuda" else []
        with evaluating(method), torch.no_grad(), torch.random.fork_rng(drawing_on), autocast():
            for prefix, function in (("health", method.features), ("embed", method.embed)):
                x = function(group.flatten(0, 1))
                if x is not None:
                    a, *b = x.float().unflatten(0, group.shape[:2])
                    values |= spread(a, b[0] if b else None, prefix)
        return values

    def verdict(self, values: Mapping[str, Any]) -> str | None:
        """What to say after a line of the log; None mostly."""
        return self.watch.add(values)
