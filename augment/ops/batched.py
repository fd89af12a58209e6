"""Per-sample parameters meet a batch of images: coins, broadcasting, luma."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance

LUMA = (0.299, 0.587, 0.114)


def coin(chance: Chance, p: float | None, scope: str | None) -> np.ndarray:
    """(N,) bool, True with chance p; p = 1 always, p = 0 never."""
    assert p is not None and scope is not None
    return chance.uniforms(1, scope=scope)[:, 0] < p


def in_half(chance: Chance, applies_to: str | None) -> np.ndarray:
    """(N,) bool: whether a sample lies in that half of its aligned block of positions, "first-half-of-batch" (the shorter one
    of an odd block) or "second-half-of-batch"; None: all do."""
    if applies_to is None:
        return np.ones(len(chance), bool)
    return (chance.offsets() < chance.block // 2) == (applies_to == "first-half-of-batch")


def column(values: Any, images: Tensor) -> Tensor:
    """values (N,) -> (N, 1, 1, 1) on the images' device; numbers become the images' dtype, bools stay."""
    import torch

    values = torch.as_tensor(values, device=images.device)
    if values.dtype != torch.bool:
        values = values.to(images.dtype)
    return values.reshape(-1, 1, 1, 1)


def where(apply: Any, changed: Tensor, images: Tensor) -> Tensor:
    """changed where apply (N,) is True, else images."""
    import torch

    return torch.where(column(apply, images), changed, images)


def one_by_one(images: Tensor, *values: Any) -> bool:
    """Whether a batch is best worked on image by image, in place: on the CPU, where one image fits the cache, outside a traced
    graph, and where neither the images nor a parameter in values wants a gradient."""
    import torch

    if torch.compiler.is_compiling() or images.device.type != "cpu":
        return False
    return not (torch.is_grad_enabled() and any(isinstance(v, torch.Tensor) and v.requires_grad for v in (images, *values)))


def acting(apply: Any) -> list[int]:
    """The numbers of the rows where apply (N,) is True."""
    import torch

    return [row for row, on in enumerate(torch.as_tensor(apply).tolist()) if on]


def passed_through(rounded: Tensor, exact: Tensor) -> Tensor:
    """The rounded numbers; a gradient passes as if they were exact."""
    return exact + (rounded - exact).detach() if exact.requires_grad else rounded


def luma(images: Tensor, weights: tuple[float, ...] = LUMA) -> Tensor:
    """(N, 3, H, W) -> (N, 1, H, W)."""
    r, g, b = images.unbind(1)
    return (r * weights[0] + g * weights[1] + b * weights[2]).unsqueeze(1)


def weighted_sum(images: Tensor, weights: tuple[float, ...] = LUMA) -> Tensor:
    """`luma` with one buffer."""
    r, g, b = images.split(1, 1)
    return (r * weights[0]).add_(g, alpha=weights[1]).add_(b, alpha=weights[2])
