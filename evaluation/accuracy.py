"""What share of the answers is right."""

from __future__ import annotations

import torch
from torch import Tensor


def among_best(scores: Tensor, label: Tensor, k: int) -> Tensor:
    """(N, ...) bool: whether a row's label is among its k highest scores; of equal scores the lower class comes first. scores
    (N, ..., C), label (N,).

    Raises ValueError on scores that are not finite: their order would be chance.
    """
    if not bool(torch.isfinite(scores).all()):
        raise ValueError("a classifier's scores are not finite: it did not converge; use a lower rate (lr=)")
    order = scores.argsort(dim=-1, descending=True, stable=True)[..., :k]
    return (order == label.reshape(-1, *[1] * (scores.ndim - 1))).any(-1)


def top(scores: Tensor, label: Tensor) -> dict[str, float]:
    """{"top1"} and, with at least five classes, {"top5"}: shares in [0, 1]. scores (N, C), label (N,)."""
    return {f"top{k}": float(among_best(scores, label, k).double().mean()) for k in (1, 5) if k <= scores.shape[-1]}
