"""Which answers are right: of scores, the best classes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

BEST = 5


def best_classes(scores: Tensor) -> Tensor:
    """(N, ..., min(5, C)) int64: the classes of the highest scores, the highest first; -1 where some score is not finite. scores
    (N, ..., C)."""
    finite = scores.isfinite().all(-1, keepdim=True)
    return torch.where(finite, scores.nan_to_num(0.0).topk(min(BEST, scores.shape[-1]), dim=-1).indices, -1)


def right(best: Tensor, label: Tensor, k: int = 1) -> Tensor:
    """(N, ...) bool: whether the label (N,) is among the first k of `best_classes`."""
    return (best[..., :k] == label.reshape(-1, *[1] * (best.ndim - 1))).any(-1)


def shares(best: Tensor, label: Tensor) -> Mapping[str, float]:
    """{"top1", and "top5" where there are five classes}, in [0, 1], of best (N, k) and label (N,). Raises ValueError where no
    answer is finite: the classifier diverged."""
    if bool((best < 0).all()):
        raise ValueError("the classifier diverged: its scores are not finite; use a lower rate (lr=)")
    return {f"top{k}": float(right(best, label, k).double().mean()) for k in (1, BEST) if k <= best.shape[-1]}
