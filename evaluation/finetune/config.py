"""The keys of a fine-tuning: a published protocol, and each of its numbers."""

# ruff: noqa: RUF009 (key() gives a dataclass field)
from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import sqrt
from typing import Any, ClassVar, Literal

from ...augment.op import nearest
from ...models.training.config import key
from ..labels import check_labels
from ..linear.course import Course
from .tunings import TUNINGS, Tuning


@dataclass(frozen=True)
class FinetuneConfig:
    published: ClassVar[dict[str, Tuning]] = TUNINGS

    protocol: str = key(f"whose numbers stand where a key is null: {', '.join(TUNINGS)}", "small")
    labels: Any = key("of which training pictures the labels are used: a share of each class, for example 0.01; a file of their "
                      "keys, one a line; null: of all", None)
    labels_seed: int = key("of the draw of that share; seed= has no part in it", 0)
    lr: float | None = key("base rate of the head and the uppermost layer", None)
    scaling: Literal["linear", "sqrt", "none"] | None = key("of the rate: linear: times batch_size / 256; sqrt: times its root",
                                                            None)
    optimizer: Literal["adamw", "sgd", "nesterov", "lars"] | None = key("adamw, sgd (plain momentum), nesterov or lars", None)
    batch_size: int | None = key("images a step, over all ranks together; the world size divides it", None)
    epochs: int | None = key("passes over the training images; warm-up and steps_at shrink or grow with them", None)
    law: Literal["cosine", "steps"] | None = key("of the rate", None)
    per: Literal["step", "epoch"] | None = key("epoch: the rate stands still within an epoch", None)
    warmup_epochs: float | None = key("linear warm-up from 0, per step", None)
    final_lr: float | None = key("where the cosine ends, as an absolute rate", None)
    steps_at: tuple[float, ...] | None = key("law=steps: the epochs after which the rate falls", None)
    step_factor: float | None = key("law=steps: what it is multiplied with", None)
    weight_decay: float | None = key("of weights; never of biases, gains, positions and tokens", None)
    layer_decay: float | None = key("rate of a layer over that of the layer above it; 1: all alike", None)
    drop_path: float | None = key("stochastic depth of the last block; it grows from 0 at the first", None)
    mixup: float | None = key("alpha of mixup, 0: none", None)
    cutmix: float | None = key("alpha of cutmix, 0: none; with both, each batch takes one of them", None)
    smoothing: float | None = key("label smoothing", None)
    init_std: float | None = key("standard deviation of the head's first weights", None)
    pool: Literal["features", "mean"] | None = key("what the head stands on: the encoder's features; or, of vision transformers, "
                                                   "a new layer norm of the mean patch token", None)
    clip_grad: float | None = key("bound of the joint norm of all gradients", None)
    adapt_head: bool | None = key("optimizer=lars: adapt the new head's rate, too, and decay its weights", None)
    head_lr: float | None = key("base rate of the new head, where it has one of its own; null: the protocol's, or lr", None)
    recipe: str | None = key("views that it trains on, at the encoder's size and normalisation: finetune, probe, ...", None)
    sync_bn: bool = key("batch norm over all ranks; false: over each rank's own pictures", True)
    save_minutes: float = key("minutes between two checkpoints", 10.0)
    sidecar: bool = key("render views in a process of its own; false: in threads of this one", True)

    def __post_init__(self) -> None:
        of = self.tuning()
        check_labels(self.labels, self.labels_seed)
        for name, bound in (("batch_size", 1), ("epochs", 1)):
            if getattr(of, name) < bound:
                raise ValueError(f"{name} needs a whole number of at least {bound}, got {getattr(of, name)}")
        for name in ("lr", "step_factor"):
            if not getattr(of, name) > 0:
                raise ValueError(f"{name} needs a number above 0, got {getattr(of, name)}")
        if of.head_lr is not None and not of.head_lr > 0:
            raise ValueError(f"head_lr needs a number above 0, got {of.head_lr}")
        for name in ("warmup_epochs", "final_lr", "weight_decay", "mixup", "cutmix", "init_std"):
            if not getattr(of, name) >= 0:
                raise ValueError(f"{name} needs a number of at least 0, got {getattr(of, name)}")
        if not 0 < of.layer_decay <= 1:
            raise ValueError(f"layer_decay needs a number in (0, 1], got {of.layer_decay}")
        if not 0 <= of.smoothing < 1:
            raise ValueError(f"smoothing needs a number in [0, 1), got {of.smoothing}")
        if of.clip_grad is not None and not of.clip_grad > 0:
            raise ValueError(f"clip_grad needs a number above 0, got {of.clip_grad}")
        if not self.save_minutes > 0:
            raise ValueError(f"save_minutes needs a number above 0, got {self.save_minutes}")
        if of.law == "steps" and not of.steps_at:
            raise ValueError("law=steps needs steps_at, the epochs after which the rate falls, for example steps_at=[30,60]")
        if (of.mixup or of.cutmix) and of.batch_size % 2:
            raise ValueError(f"mixup and cutmix pair the images of a batch: batch_size={of.batch_size} needs to be even")

    def tuning(self) -> Tuning:
        """The protocol with the user's numbers. Raises ValueError for an unknown one, naming the nearest."""
        if self.protocol not in self.published:
            raise ValueError(f"unknown protocol {self.protocol!r}; {nearest(self.protocol, list(self.published))}")
        given = {f.name: getattr(self, f.name) for f in fields(Tuning) if f.name != "source"}
        return replace(self.published[self.protocol], **{name: value for name, value in given.items() if value is not None})

    def course(self, images: int) -> Course:
        """Over so many training images. A published warm-up and published drops keep their place in a run of other length.
        Raises ValueError where the images do not fill one batch."""
        of = self.tuning()
        per_epoch = images // of.batch_size
        if per_epoch == 0:
            raise ValueError(f"batch_size={of.batch_size} needs at least as many training images, there are {images}; use "
                             f"batch_size={1 << (images.bit_length() - 1)} or less")
        stretch = of.epochs / self.published[self.protocol].epochs
        warmup = of.warmup_epochs if self.warmup_epochs is not None else stretch * of.warmup_epochs
        if warmup >= of.epochs:
            raise ValueError(f"warmup_epochs={warmup:g} needs to be below epochs={of.epochs}")
        steps_at = of.steps_at if self.steps_at is not None else tuple(stretch * epoch for epoch in of.steps_at)
        final = of.final_lr / peak(of) if of.law == "cosine" else 0.0
        return Course(per_epoch, of.epochs * per_epoch, of.law, of.per, warmup, steps_at, of.step_factor, final)


def peak(of: Tuning) -> float:
    """The rate after the warm-up, of the head."""
    return of.lr * {"linear": of.batch_size / 256, "sqrt": sqrt(of.batch_size), "none": 1.0}[of.scaling]
