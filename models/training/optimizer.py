"""From published numbers to an optimizer: what decays, its rate, clipping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..method import Method, Rate
from .config import ClipMode, OptimizerConfig
from .larc import Larc
from .pieces import is_sharded, local, whole_norms


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Trainable parameters in two groups, those that decay and those that do not; a group without members is left out, and
    parameters for which a method's `rates` says so are in two groups of their own.

    exclude "norm-and-bias": whatever has one axis or none (biases, norm gains) does not decay, and LARS and LAMB do not
    adapt its rate, as the papers ask; its rate is spared_lr / lr times that of the others, where it has one. exclude "none":
    everything decays and is adapted. Raises ValueError where the method has a rate for parameters that are not there.
    """
    rules = model.rates() if isinstance(model, Method) else {}
    groups: dict[tuple[Rate, bool], list[Tensor]] = {(1.0, True): [], (1.0, False): []}
    unmet = set(rules)
    for name, parameter in model.named_parameters():
        rule: Rate = 1.0
        for prefix in (prefix for prefix in rules if name.startswith(f"{prefix}.") or name == prefix):
            rule = rules[prefix]
            unmet.discard(prefix)
        if parameter.requires_grad:
            spared = config.exclude == "norm-and-bias" and (parameter.ndim <= 1 or name.endswith(".bias"))
            groups.setdefault((rule, not spared), []).append(parameter)
    if unmet:
        raise ValueError(f"{type(model).__name__} has a rate for {sorted(unmet)[0]!r}, and no parameters of that name")
    return [_group(members, rule, decays, config) for (rule, decays), members in groups.items() if members]


def _group(members: list[Tensor], rule: Rate, decays: bool, config: OptimizerConfig) -> dict[str, Any]:
    scale = 1.0 if rule == "constant" else rule
    if not decays and config.spared_lr is not None:
        scale *= config.spared_lr / config.lr
    group: dict[str, Any] = {"params": members, "weight_decay": config.weight_decay if decays else 0.0, "decays": decays,
                             "scale": scale, "constant": rule == "constant"}
    if decays and config.name in ("lars", "lamb"):
        # Without this, timm would take a weight_decay of 0 as a wish for no adaptation either: plain SGD, silently.
        group["always_adapt"] = True
    return group


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """One of timm's optimizers, or our Larc, over parameter_groups. Its rate is 0 until `set_rate` is told one.

    LARS is timm's: trust ratio 0.001 |w| / (|g| + decay |w|), as Apex has it, where the papers' codes divide by
    |g + decay w|; the rate multiplies after the momentum, where SimCLR's own code keeps it inside the buffer. LARC is Apex's to
    the letter, also where a weight or its gradient is all zero.
    """
    if config.name == "larc":
        return Larc(parameter_groups(model, config), lr=0.0, momentum=config.momentum)
    from timm.optim import create_optimizer_v2

    options: dict[str, Any] = {}
    if config.name in ("adamw", "adam", "lamb"):
        options["betas"] = tuple(config.betas)
    else:
        options["momentum"] = config.momentum
    # timm's "sgd" is Nesterov's; its "momentum" is the plain form.
    name = {"sgd": "momentum", "nesterov": "sgd"}.get(config.name, config.name)
    optimizer = create_optimizer_v2(parameter_groups(model, config), opt=name, lr=0.0, weight_decay=0.0, **options)
    assert isinstance(optimizer, torch.optim.Optimizer)
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, rate: float, peak: float | None = None) -> None:
    """rate: of this step; each group takes its own multiple of it. peak: of the whole run, for groups whose rate stays constant;
    None: rate."""
    for group in optimizer.param_groups:
        # Checkpoints of old have groups without a scale.
        constant = group.get("constant", False) and peak is not None
        group["lr"] = (peak if constant else rate) * group.get("scale", 1.0)


def set_decay(optimizer: torch.optim.Optimizer, decay: float) -> None:
    """Of the groups that decay; the others are left alone."""
    for group in optimizer.param_groups:
        if group.get("decays", group["weight_decay"] > 0):  # checkpoints of old have no such mark
            group["weight_decay"] = decay


def clip(module: nn.Module, max_norm: float | None, mode: ClipMode = "joint") -> Tensor | None:
    """Scale a module's gradients so that their 2-norm is at most max_norm; the joint norm before, or None if off.

    mode "joint": one factor for all, so that their joint norm is bounded; "per-part": the module's children have each its own,
    and so have the parameters beside them together, as in DINOv2's code; "per-tensor": each gradient has its own norm and
    factor, as in DINO's code (facebookresearch/dino, utils.clip_gradients).
    """
    if max_norm is None:
        return None
    if is_sharded(module):
        return _clip_sharded(module, max_norm, mode)
    if mode == "joint":
        return nn.utils.clip_grad_norm_(module.parameters(), max_norm)
    if mode == "per-part":
        parts = [list(part.parameters()) for part in module.children()] + [list(module.parameters(recurse=False))]
        joint = [nn.utils.clip_grad_norm_(part, max_norm) for part in parts if any(p.grad is not None for p in part)]
        return torch.stack(joint).norm() if joint else torch.zeros(())
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    norms = torch.stack(torch._foreach_norm(gradients))
    # The small number is torch's and DINO's; a product with 1 costs no wait on an accelerator, a question would.
    torch._foreach_mul_(gradients, list((max_norm / (norms + 1e-6)).clamp(max=1.0).unbind()))
    return norms.norm()


def _clip_sharded(module: nn.Module, max_norm: float, mode: ClipMode) -> Tensor:
    """`clip` where each rank holds a part of every gradient: norms are of whole tensors, with one reduction for all of them."""
    parts: list[Iterable[nn.Parameter]] = [module.parameters()]
    if mode == "per-part":
        parts = [*(part.parameters() for part in module.children()), module.parameters(recurse=False)]
    groups = [own for part in parts if (own := [p.grad for p in part if p.grad is not None])]
    gradients = [gradient for own in groups for gradient in own]
    if not gradients:
        return torch.zeros(())
    lengths = whole_norms(gradients)
    if mode != "per-tensor":
        sizes = [len(own) for own in groups]
        lengths = torch.cat([own.norm().expand(len(own)) for own in lengths.split(sizes)])
        joint = torch.stack([own[0] for own in lengths.split(sizes)]).norm()
    else:
        joint = lengths.norm()
    factors = (max_norm / (lengths + 1e-6)).clamp(max=1.0)
    for gradient, factor in zip(gradients, factors.unbind(), strict=True):
        local(gradient).mul_(factor)
    return joint
