"""The keys of a linear probe: a published protocol, and each of its numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from ...models.training.config import OptimizerConfig, key
from .course import Course
from .probes import PROBES, Probe, probe


@dataclass(frozen=True)
class HeadsConfig:
    """Of linear heads that are trained by steps, on whatever they stand."""

    protocol: str = key(f"whose numbers stand where a key is null: {', '.join(PROBES)}", "sweep")
    lr: tuple[float, ...] | None = key("base rates: one head for each, on each kind of features", None)
    scaling: Literal["linear", "none"] | None = key("linear: rates times batch_size / 256", None)
    optimizer: Literal["sgd", "nesterov", "lars", "adamw"] | None = key("of the heads", None)
    weight_decay: float | None = key("of the heads", None)
    momentum: float | None = key("of the heads, but for adamw", None)
    exclude: Literal["norm-and-bias", "none"] | None = key("norm-and-bias: the bias does not decay, and lars does not adapt it",
                                                           None)
    batch_size: int | None = key("images a step, over all ranks together; the world size divides it", None)
    epochs: int | None = key("passes over the training images; warm-up and steps_at shrink or grow with them", None)
    steps: int | None = key("instead of epochs: so many steps", None)
    law: Literal["cosine", "steps"] | None = key("of the rate", None)
    per: Literal["step", "epoch"] | None = key("epoch: the rate stands still within an epoch", None)
    warmup_epochs: float | None = key("linear warm-up from 0, per step", None)
    steps_at: tuple[float, ...] | None = key("law=steps: the epochs after which the rate falls", None)
    step_factor: float | None = key("law=steps: what it is multiplied with", None)
    init_std: float | None = key("standard deviation of the heads' first weights", None)
    norm: bool | None = key("batch norm without affine in front of the heads", None)
    norm_eps: float | None = key("its epsilon", None)
    recipe: str | None = key("views that the heads train on, at the encoder's size and normalisation", None)
    cached: bool | None = key("features are made once, of plain views; false: of new views in each epoch", None)
    select: Literal["split", "test"] = key("what chooses the best head: a split of the training images, or, as DINOv2 published "
                                           "it, the test images", "split")
    split: float = key("share of the training images that chooses, where there is a choice", 0.1)
    refit: bool = key("after the choice, train all again on all training images, and take the chosen", False)
    save_minutes: float = key("minutes between two checkpoints", 5.0)
    sidecar: bool = key("render views in a process of its own; false: in threads of this one", True)

    def __post_init__(self) -> None:
        given = self.probe()
        if self.epochs is not None and self.steps is not None:
            raise ValueError(f"epochs={self.epochs} and steps={self.steps}: give one of both")
        for name in ("batch_size", "epochs", "steps"):
            value = getattr(given, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} needs a whole number of at least 1, got {value}")
        if not given.lr or min(given.lr) <= 0:
            raise ValueError(f"lr needs rates above 0, got {list(given.lr)}")
        if not 0 <= given.momentum < 1 or given.weight_decay < 0 or given.init_std < 0 or given.norm_eps <= 0:
            raise ValueError("momentum needs a number in [0, 1), weight_decay and init_std one of at least 0, norm_eps one above "
                             f"0, got {given.momentum}, {given.weight_decay}, {given.init_std}, {given.norm_eps}")
        if not 0 < self.split < 1:
            raise ValueError(f"split needs a share of the training images in (0, 1), got {self.split}")
        if not self.save_minutes > 0:
            raise ValueError(f"save_minutes needs a number above 0, got {self.save_minutes}")
        if given.law == "steps" and not given.steps_at:
            raise ValueError("law=steps needs steps_at, the epochs after which the rate falls, for example steps_at=[60,80]")

    def probe(self) -> Probe:
        """The protocol with the user's numbers. Raises ValueError for an unknown protocol, naming the nearest."""
        numbers: dict[str, Any] = {f.name: getattr(self, f.name, None) for f in fields(Probe) if f.name != "source"}
        numbers = {name: value for name, value in numbers.items() if value is not None}
        if "steps" in numbers:
            numbers["epochs"] = None
        elif "epochs" in numbers:
            numbers["steps"] = None
        return replace(probe(self.protocol), **numbers)

    def course(self, images: int) -> Course:
        """Over so many training images. A published warm-up and published drops keep their place in a run of other length.
        Raises ValueError where the images do not fill one batch."""
        of, published = self.probe(), probe(self.protocol)
        per_epoch = images // of.batch_size
        if per_epoch == 0:
            raise ValueError(f"batch_size={of.batch_size} needs at least as many training images, there are {images}; use "
                             f"batch_size={1 << (images.bit_length() - 1)} or less")
        total = of.steps or (of.epochs or 0) * per_epoch
        stretch = total / (published.steps or (published.epochs or 0) * per_epoch)
        warmup = of.warmup_epochs if self.warmup_epochs is not None else stretch * of.warmup_epochs
        if round(warmup * per_epoch) >= total:
            raise ValueError(f"warmup_epochs={warmup:g} needs to be shorter than the whole, {total / per_epoch:g} epochs")
        steps_at = of.steps_at if self.steps_at is not None else tuple(stretch * epoch for epoch in of.steps_at)
        return Course(per_epoch, total, of.law, of.per, warmup, steps_at, of.step_factor)


@dataclass(frozen=True)
class LinearConfig(HeadsConfig):
    solver: Literal["gradient", "lbfgs"] = key("gradient: heads trained by steps; lbfgs: scikit-learn's logistic regression",
                                               "gradient")
    kinds: tuple[str, ...] | None = key("features; of vision transformers also cls1, cls4, cls4+mean, mean", None)
    c: tuple[float, ...] | None = key("lbfgs: C of scikit-learn, one over the weight of the l2 penalty; null: c_grid", None)
    c_grid: Literal["short", "published"] = key("lbfgs: short: 5 values, 1 to 10,000 over the number of images; published: 45, "
                                                 "1e-6 to 1e5", "short")
    standardize: bool | None = key("lbfgs: features with mean 0 and deviation 1 over the training images, so that one grid fits "
                                   "all encoders; null: yes, but for c_grid=published, which has them as they are", None)
    dtype: Literal["float64", "float32"] | None = key("lbfgs: of the fit; null: float32, but float64 for c_grid=published", None)
    max_iter: int = key("lbfgs: iterations of a fit at most", 1000)

    def __post_init__(self) -> None:
        if self.solver == "lbfgs":
            self._check_lbfgs()
        super().__post_init__()

    def _check_lbfgs(self) -> None:
        strange = [f.name for f in fields(Probe) if f.name != "source" and getattr(self, f.name, None) is not None]
        if strange:
            raise ValueError(f"{strange[0]} is for heads that are trained by steps, and solver=lbfgs has none; leave it out")
        if self.c is not None and (not self.c or min(self.c) <= 0):
            raise ValueError(f"c needs numbers above 0, got {list(self.c)}")
        if self.max_iter < 1:
            raise ValueError(f"max_iter needs a whole number of at least 1, got {self.max_iter}")


def rates(of: Probe) -> tuple[float, ...]:
    """The peak rate of each base rate."""
    return tuple(lr * of.batch_size / 256 if of.scaling == "linear" else lr for lr in of.lr)


def optimizer_of(of: Probe) -> OptimizerConfig:
    """With a rate of 1: each head has its own."""
    return OptimizerConfig(of.optimizer, 1.0, "none", of.weight_decay, momentum=of.momentum, exclude=of.exclude)
