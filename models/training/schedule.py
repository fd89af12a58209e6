"""What changes from step to step, and not from epoch to epoch: the learning rate, the weight decay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .config import OptimizerConfig, RunConfig


def learning_rate(step: int, *, total: int, warmup: int, peak: float, final: float = 0.0, first: float = 0.0) -> float:
    """The rate used by step `step` (0 is the first of `total`).

    Rises as first + (peak - first) * step / warmup, so with first = 0 the very first step of a warm-up moves nothing, as in the
    published code of SimCLR and MAE (SwAV's and DINO's come to the peak one step earlier, and stay there for it); then falls
    along half a cosine from peak to final, which step `total` (never taken) would use.
    Source: SGDR, arXiv:1608.03983, without restarts. Raises ValueError unless 0 <= warmup < total.
    """
    if not 0 <= warmup < total:
        raise ValueError(f"warm-up needs 0 <= warmup < total steps, got {warmup} of {total}")
    if step < warmup:
        return first + (peak - first) * step / warmup
    way = min((step - warmup) / (total - warmup), 1.0)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * way))


def stepped_rate(step: int, *, warmup: int, peak: float, falls: Sequence[int], factor: float | Sequence[float],
                 first: float = 0.0) -> float:
    """The rate used by step `step`: the warm-up as above, then peak, times factor, or each its own, for each of the steps
    `falls` that has come."""
    if step < warmup:
        return first + (peak - first) * step / warmup
    come = sum(step >= fall for fall in falls)
    return peak * (math.prod(factor[:come]) if isinstance(factor, Sequence) else factor**come)


@dataclass(frozen=True)
class Plan:
    """How many steps a run has, and the rate of each. Made from the numbers of the whole run, so a resumed run has the same.

    falls: None for a cosine from peak to final, or the steps from which on the rate is multiplied by factor once more, or by
    the next of as many factors. per_epoch: the cosine falls only where an epoch begins, so that it never ends at final.
    """

    steps_per_epoch: int
    total: int
    warmup: int
    peak: float
    final: float
    falls: tuple[int, ...] | None = None
    factor: float | tuple[float, ...] = 0.1
    first_decay: float = 0.0
    final_decay: float | None = None
    first: float = 0.0
    per_epoch: bool = False

    def rate(self, step: int) -> float:
        if self.falls is not None:
            return stepped_rate(step, warmup=self.warmup, peak=self.peak, falls=self.falls, factor=self.factor, first=self.first)
        if self.per_epoch and step >= self.warmup:
            step = max(step // self.steps_per_epoch * self.steps_per_epoch, self.warmup)
        return learning_rate(step, total=self.total, warmup=self.warmup, peak=self.peak, final=self.final, first=self.first)

    def decay(self, step: int) -> float:
        """The weight decay of step `step`: half a cosine from first_decay, at step 0, to final_decay. Source: DINO's code."""
        if self.final_decay is None:
            return self.first_decay
        return learning_rate(step, total=self.total, warmup=0, peak=self.first_decay, final=self.final_decay)

    @property
    def law(self) -> str:
        """What follows the warm-up, in words."""
        if self.falls is None:
            return f"cosine to {self.final:g}{', epoch by epoch' if self.per_epoch else ''}"
        if isinstance(self.factor, tuple):
            changes = zip(self.factor, self.falls, strict=True)
            return f"constant, then {', '.join(f'times {factor:g} from step {fall:,}' for factor, fall in changes)}"
        times = f", then times {self.factor:g} from step {', '.join(f'{fall:,}' for fall in self.falls)}" if self.falls else ""
        return f"constant{times}"

    def epoch(self, step: int) -> float:
        """Epochs done after `step` steps, with the fraction of the one under way."""
        return step / self.steps_per_epoch

    def crosses(self, step: int, epochs: float) -> bool:
        """Whether step number `step` is the one that completes a multiple of `epochs` epochs; never for epochs = 0."""
        every = epochs * self.steps_per_epoch
        return every > 0 and math.floor(step / every) > math.floor((step - 1) / every)


def plan(config: RunConfig, images: int) -> Plan:
    """The plan of a run over `images` images. Raises ValueError if they do not fill one batch, or a warm-up would fall.

    What is left of an epoch after its last full batch is dropped, as every published recipe does. A warm-up as long as a
    run that `steps` cuts short is cut with it; falls of the rate stay at their epochs.
    """
    steps_per_epoch = images // config.batch_size
    if steps_per_epoch == 0:
        raise ValueError(f"batch_size={config.batch_size} needs at least as many images, data={config.data} has {images}; "
                         f"use batch_size={_power_of_two(images)} or less")
    total = config.epochs * steps_per_epoch
    total = total if config.steps is None else min(total, config.steps)
    warmup = min(round(config.schedule.warmup_epochs * steps_per_epoch), total - 1)
    of = config.schedule
    falls = tuple(round(epoch * steps_per_epoch) for epoch in of.steps_at) if of.law == "steps" else None
    peak = peak_rate(config.optimizer, config.batch_size)
    if warmup and of.first_lr > peak:
        raise ValueError(f"schedule.first_lr={of.first_lr:g}, where a warm-up begins, needs to be at most the rate where it "
                         f"ends, here {peak:g} (optimizer.lr, scaled to the batch); use for example schedule.first_lr=0")
    return Plan(steps_per_epoch, total, warmup, peak, of.final_lr, falls, of.step_factors or of.step_factor,
                config.optimizer.weight_decay, config.optimizer.final_weight_decay, of.first_lr, of.per == "epoch")


def peak_rate(config: OptimizerConfig, batch_size: int) -> float:
    """The rate that the warm-up reaches. batch_size: global, images a step.

    scaling "linear": lr * batch_size / 256 (arXiv:1706.02677); "sqrt": lr * sqrt(batch_size), SimCLR's second rule
    (arXiv:2002.05709, appendix B.1), not divided by sqrt(256); "none": lr.
    """
    if config.scaling == "linear":
        return config.lr * batch_size / 256
    if config.scaling == "sqrt":
        return config.lr * math.sqrt(batch_size)
    return config.lr


def _power_of_two(bound: int) -> int:
    return 1 << max(bound.bit_length() - 1, 0) if bound else 1
