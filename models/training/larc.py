"""LARC as NVIDIA's Apex has it, around plain SGD: what SwAV and DeepCluster-v2 are trained with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

TRUST, EPSILON = 0.001, 1e-8


class Larc(torch.optim.SGD):
    """SGD with momentum on gradients that are first scaled, tensor by tensor, by 0.001 |w| / (|g| + decay |w| + 1e-8), decay * w
    added before; the rate multiplies after the momentum.

    Without Apex's clipping, which no published run has. Where |w| or |g| is 0 the gradient stays as it is and nothing decays.
    Groups with "decays": False are plain SGD. Source: NVIDIA/apex, apex/parallel/LARC.py, of You et al. 2017,
    arXiv:1708.03888.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update; changes the gradients. closure: none, since it would see gradients that are not scaled yet."""
        if closure is not None:
            raise ValueError("larc takes no closure")
        decays = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            if group.get("decays", True):
                _adapt([p for p in group["params"] if p.grad is not None], group["weight_decay"])
                group["weight_decay"] = 0.0  # it is in the gradients now
        try:
            super().step()
        finally:
            for group, decay in zip(self.param_groups, decays, strict=True):
                group["weight_decay"] = decay


def _adapt(parameters: list[torch.Tensor], decay: float) -> None:
    if not parameters:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    w, g = torch.stack(torch._foreach_norm(parameters)), torch.stack(torch._foreach_norm(gradients))
    both = (w > 0) & (g > 0)
    ratio = torch.where(both, TRUST * w / (g + decay * w + EPSILON), 1.0)
    torch._foreach_mul_(gradients, list(ratio.unbind()))
    if decay:
        share = torch.where(both, ratio * decay, 0.0)
        torch._foreach_add_(gradients, torch._foreach_mul(parameters, list(share.unbind())))
