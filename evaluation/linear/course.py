"""How long heads train, and which share of its peak each step's rate is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...models.training.schedule import learning_rate


@dataclass(frozen=True)
class Course:
    """law "cosine": half a cosine down to `final`; "steps": times step_factor at each of steps_at (epochs). per "epoch": the rate
    stands still within an epoch, so that a cosine ends above it, as most of the published codes have it. The first
    warmup_epochs rise from 0 by the step."""

    steps_per_epoch: int
    total: int
    law: Literal["cosine", "steps"]
    per: Literal["step", "epoch"]
    warmup_epochs: float = 0
    steps_at: tuple[float, ...] = ()
    step_factor: float = 0.1
    final: float = 0.0

    def share(self, step: int) -> float:
        """Of the peak rate, in [0, 1], for step number `step`, from 0."""
        warmup = round(self.warmup_epochs * self.steps_per_epoch)
        if step < warmup:
            return step / warmup
        at = step // self.steps_per_epoch * self.steps_per_epoch if self.per == "epoch" else step
        if self.law == "cosine":
            return learning_rate(max(at, warmup), total=self.total, warmup=warmup, peak=1.0, final=self.final)
        return self.step_factor ** sum(at >= epoch * self.steps_per_epoch for epoch in self.steps_at)

    def epoch(self, step: int) -> float:
        return step / self.steps_per_epoch
