"""timm's pieces of fine-tuning: which layer a weight belongs to, and pictures mixed in pairs with their labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.models import group_parameters
from timm.optim import Lars
from torch import Tensor, nn

from .tunings import Tuning


def layer_of(module: nn.Module) -> dict[str, int]:
    """By parameter of a backbone, its layer, from 0 at the images on: as timm groups its networks (a transformer's embedding,
    then one for each block); in others every weight of two axes or more begins a layer. Networks that stand side by side in one
    (`side_by_side`: their names) are each counted from 0."""
    beside: Any = getattr(module, "side_by_side", ())
    if beside:
        return {f"{part}.{name}": layer for part in beside for name, layer in layer_of(getattr(module, part)).items()}
    matcher: Any = getattr(module, "group_matcher", None)
    if matcher is not None:
        found: Mapping[str, int] = group_parameters(module, matcher(coarse=False), reverse=True)
        return dict(found)
    layers, number = {}, -1
    for name, parameter in module.named_parameters():
        number += parameter.ndim >= 2
        layers[name] = max(number, 0)
    return layers


def parameter_groups(module: nn.Module, head: nn.Module, of: Tuning, kept: nn.Module | None = None) -> list[dict[str, Any]]:
    """Groups of the optimizer, of one layer each: "lr_scale" layer_decay^k, k layers below the new head, whose own is 1, or what
    head_lr is of lr; "weight_decay" 0 for what has one axis, and for what the network exempts itself (positions, tokens). kept:
    layers of pretraining's head, between the network and the new one. Source: BEiT, arXiv:2106.08254."""
    kept = nn.Sequential() if kept is None else kept
    layers, between = layer_of(module), layer_of(kept)
    exempt: Any = getattr(module, "no_weight_decay", set)
    spared = set(exempt())
    above = max(layers.values(), default=-1) + 1
    top = above + max(between.values(), default=-1) + 1
    members = [(layers[name], parameter, parameter.ndim > 1 and name not in spared)
               for name, parameter in module.named_parameters()]
    members += [(above + between[name], parameter, parameter.ndim > 1) for name, parameter in kept.named_parameters()]
    adapts = of.optimizer != "lars" or of.adapt_head
    members += [(top, parameter, parameter.ndim > 1 and adapts) for parameter in head.parameters()]
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for layer, parameter, decays in members:
        if not parameter.requires_grad:
            continue
        scale = of.head_lr / of.lr if layer == top and of.head_lr is not None else of.layer_decay ** (top - layer)
        group = groups.setdefault((layer, decays), {"params": [], "lr_scale": scale,
                                                    "weight_decay": of.weight_decay if decays else 0.0})
        if of.optimizer == "lars":  # timm would take a decay of 0 as a wish for no adaptation either
            group["always_adapt"] = decays
        group["params"].append(parameter)
    return list(groups.values())


def optimizer_of(groups: list[dict[str, Any]], of: Tuning) -> torch.optim.Optimizer:
    """Its rate is 0 until it is told one. LARS is timm's, of trust ratio 0.001 |w| / (|g| + decay |w|), where the authors divide
    by |g + decay w|, and its rate multiplies after the momentum, theirs inside it."""
    if of.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=0.0)
    if of.optimizer == "lars":
        return Lars(groups, lr=0.0, momentum=0.9)
    return torch.optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=of.optimizer == "nesterov")


class Mixing:
    """Mixup or cutmix of a batch with itself in reverse order, as timm does it, drawn from NumPy's global generator; without
    either, smoothed labels alone."""

    def __init__(self, of: Tuning, classes: int) -> None:
        self.classes, self.smoothing = classes, of.smoothing
        mixes = of.mixup or of.cutmix
        self.mix = Mixup(of.mixup, of.cutmix, label_smoothing=of.smoothing, num_classes=classes) if mixes else None

    def __call__(self, images: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, C, H, W), label (B,) to images and targets (B, classes), which sum to 1."""
        if self.mix is not None:
            mixed: tuple[Tensor, Tensor] = self.mix(images.clone(), label)
            return mixed
        spread = self.smoothing / self.classes
        return images, (1 - self.smoothing) * F.one_hot(label, self.classes).to(images.dtype) + spread
