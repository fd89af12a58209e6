"""From published numbers to an optimizer: what decays, its rate, clipping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .config import OptimizerConfig


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Trainable parameters in two groups, those that decay and those that do not; a group without members is left out.

    exclude "norm-and-bias": whatever has one axis or none (biases, norm gains) does not decay, and LARS and LAMB do not
    adapt its rate, as the papers ask. exclude "none": everything decays and is adapted.
    """
    decays: list[Tensor] = []
    spared: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            alone = config.exclude == "norm-and-bias" and (parameter.ndim <= 1 or name.endswith(".bias"))
            (spared if alone else decays).append(parameter)
    groups: list[dict[str, Any]] = [{"params": decays, "weight_decay": config.weight_decay},
                                    {"params": spared, "weight_decay": 0.0}]
    if config.name in ("lars", "lamb"):
        # Without this, timm would take a weight_decay of 0 as a wish for no adaptation either: plain SGD, silently.
        groups[0]["always_adapt"] = True
    return [group for group in groups if group["params"]]


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """One of timm's optimizers over parameter_groups. Its rate is 0 until `set_rate` is told one.

    LARS is timm's: trust ratio 0.001 |w| / (|g| + decay |w|), as Apex has it, where the papers' codes divide by
    |g + decay w|; the rate multiplies after the momentum, where SimCLR's own code keeps it inside the buffer.
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
