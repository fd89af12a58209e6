"""One step of a run: a batch goes through, is looked at, and moves the weights, or does not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from ..method import Method
from ..views import Divisible
from .config import RunConfig
from .guard import Action, Guard
from .profiling import part
from .schedule import Plan
from .step import Autocast, accumulated, learn


@dataclass(frozen=True)
class Taken:
    """values: what `forward` returned, the loss among them. norm: the gradients', before clipping, None where there is none.
    refused: what is done instead of the step, "" where it was taken."""

    values: dict[str, Tensor]
    norm: Tensor | None
    refused: Action


@dataclass(frozen=True)
class Learner:
    """What a run's steps are taken with. model: the method, or what averages its gradients over ranks."""

    config: RunConfig
    steps: Plan
    method: Method
    model: nn.Module
    optimizer: torch.optim.Optimizer
    autocast: Autocast
    scaler: GradScaler | None
    guard: Guard

    def take(self, batch: Divisible, step: int, look: bool) -> Taken:
        """The step after `step` steps. look: whether the loss is judged in any case; a guard that is on always does. Raises
        RunFailure where the run is to stop."""
        config, steps, guard = self.config, self.steps, self.guard
        self.method.before_step(steps.epoch(step))
        guard.remember()
        if config.accumulate > 1:
            values = accumulated(self.model, batch, config.accumulate, self.autocast, self.scaler)
        else:
            with part("forward"), self.autocast():
                values = self.model(batch)
        loss = values["loss"] if config.accumulate == 1 else None
        refused: Action = ""
        if look or guard.on:
            refused = guard.judge(values["loss"], step + 1)
        if guard.on and not refused:
            if loss is not None:
                with part("backward"):
                    self.optimizer.zero_grad(set_to_none=True)
                    (loss if self.scaler is None else self.scaler.scale(loss)).backward()
                loss = None
            if self.scaler is None:  # which leaves out a step whose gradients overflow, as it is made to
                refused = guard.judge_gradients(step + 1)
        if refused:
            self.optimizer.zero_grad(set_to_none=True)
            guard.undo()
            return Taken(values, None, refused)
        norm = learn(self.method, self.optimizer, loss, steps.rate(step), config.clip_grad, (step + 1) / steps.total,
                     clip_mode=config.clip_mode, decay=steps.decay(step), peak=steps.peak, scaler=self.scaler)
        guard.accept()
        return Taken(values, norm, refused)
