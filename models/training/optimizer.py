"""From published numbers to an optimizer: what decays, the peak rate of a batch size, clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .config import OptimizerConfig


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


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Trainable parameters in two groups, those that decay and those that do not; a group without members is left out.

    exclude "norm-and-bias": whatever has one axis or none (biases, norm gains) does not decay. timm's LARS and LAMB adapt
    no parameter without decay either, which is what the papers ask. exclude "none": everything decays.
    """
    decays: list[Tensor] = []
    spared: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            alone = config.exclude == "norm-and-bias" and (parameter.ndim <= 1 or name.endswith(".bias"))
            (spared if alone else decays).append(parameter)
    groups = [{"params": decays, "weight_decay": config.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """One of timm's optimizers over parameter_groups. Its rate is 0 until `set_rate` is told one.

    LARS: the rate multiplies after the momentum, as in BYOL's and MoCo v3's code; SimCLR's own keeps it inside the
    buffer, which differs only while the rate moves.
    """
    from timm.optim import create_optimizer_v2

    options: dict[str, Any] = {}
    if config.name in ("adamw", "lamb"):
        options["betas"] = tuple(config.betas)
    else:
        options["momentum"] = config.momentum
    # timm's "sgd" is Nesterov's; its "momentum" is the plain form that every pre-training recipe here uses.
    name = "momentum" if config.name == "sgd" else config.name
    optimizer = create_optimizer_v2(parameter_groups(model, config), opt=name, lr=0.0, weight_decay=0.0, **options)
    assert isinstance(optimizer, torch.optim.Optimizer)
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def clip(parameters: Iterable[nn.Parameter], max_norm: float | None) -> Tensor | None:
    """Scale all gradients by one factor so that their joint 2-norm is at most max_norm; the norm before, or None if off."""
    if max_norm is None:
        return None
    return nn.utils.clip_grad_norm_(parameters, max_norm)
