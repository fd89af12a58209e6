"""The optimizer of a dense task: which weight learns at what rate, at which step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..finetune.pieces import layer_of
from .schedules import Schedule

WARMUP_FROM = 1e-3
NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


def rate(of: Schedule, step: int) -> float:
    """The learning rate of step `step`, from 0, of the uppermost layers."""
    done = step / of.steps
    if of.law == "steps":
        value = of.lr * 0.1 ** sum(step >= drop for drop in of.drops_at)
    elif of.law == "poly":
        value = (of.lr - of.final_lr) * (1 - done) ** 0.9 + of.final_lr
    else:
        value = of.final_lr + (of.lr - of.final_lr) * 0.5 * (1 + math.cos(math.pi * done))
    if step < of.warmup_steps:
        value *= WARMUP_FROM + (1 - WARMUP_FROM) * step / of.warmup_steps
    return value


def optimizer_of(network: nn.Module, backbone: nn.Module, of: Schedule) -> torch.optim.Optimizer:
    """Of all weights of `network` that train; those of `backbone`, which is inside it, by layers. Its rate is told each step, to
    be multiplied by each group's "lr_scale"."""
    layers = {id(parameter): number for parameter, number in _layers(backbone)} if of.layer_decay != 1 else {}
    top = max(layers.values(), default=-1) + 1
    spared = {id(parameter) for module in network.modules() if isinstance(module, NORMS) for parameter in module.parameters()}
    exempt: Any = getattr(backbone, "no_weight_decay", set)
    named = dict(backbone.named_parameters())
    spared |= {id(named[name]) for name in exempt() if name in named}
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            scale, decays = of.layer_decay ** (top - layers.get(id(parameter), top)), id(parameter) not in spared
            group = groups.setdefault((scale, decays), {"params": [], "lr_scale": scale,
                                                        "weight_decay": of.weight_decay if decays else 0.0})
            group["params"].append(parameter)
    if of.optimizer == "adamw":
        return torch.optim.AdamW(list(groups.values()), lr=0.0)
    return torch.optim.SGD(list(groups.values()), lr=0.0, momentum=0.9)


def _layers(backbone: nn.Module) -> list[tuple[nn.Parameter, int]]:
    numbers = layer_of(backbone)
    return [(parameter, numbers[name]) for name, parameter in backbone.named_parameters() if name in numbers]
