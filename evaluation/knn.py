"""Weighted k-nearest-neighbour classification of frozen features, as self-supervised papers report it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def knn_scores(bank: Tensor, bank_label: Tensor, queries: Tensor, *, k: int = 20, temperature: float = 0.07,
               classes: int | None = None, chunk: int = 1024) -> Tensor:
    """(Q, classes) votes: each of a query's k nearest, by cosine, votes exp(cosine / temperature) for its class.

    bank (N, D), bank_label (N,) int64 >= 0, queries (Q, D); float32 or wider inside; chunk queries at a time.
    Votes of a query are relative to its nearest neighbour's, exp((cosine - largest) / temperature), which changes no ranking
    and cannot overflow.
    Raises ValueError on k outside 1 .. N, a temperature of 0 or less, labels that do not fit. Source: InstDisc,
    arXiv:1805.01978; DINO, arXiv:2104.14294 (k 20, temperature 0.07).
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"k={k} needs to be in 1 .. {len(bank)}, the number of labelled features")
    if not temperature > 0:
        raise ValueError(f"temperature needs a number above 0, got {temperature}")
    if bank_label.shape != (len(bank),) or int(bank_label.min()) < 0:
        raise ValueError(f"bank_label needs shape ({len(bank)},) and classes >= 0, got {tuple(bank_label.shape)}, "
                         f"smallest {int(bank_label.min()) if bank_label.numel() else 'none'}")
    count = int(bank_label.max()) + 1 if classes is None else classes
    if int(bank_label.max()) >= count:
        raise ValueError(f"classes={count} needs to be above the largest label, {int(bank_label.max())}")
    bank, votes = _unit(bank), []
    for piece in _unit(queries).split(chunk):
        similarity, row = (piece @ bank.T).topk(k, dim=1)
        weight = ((similarity - similarity[:, :1]) / temperature).exp()
        votes.append(weight.new_zeros(len(piece), count).scatter_add_(1, bank_label[row], weight))
    return torch.cat(votes)


@torch.no_grad()
def knn_accuracy(bank: Tensor, bank_label: Tensor, test: Tensor, test_label: Tensor, *, k: int = 20,
                 temperature: float = 0.07, chunk: int = 1024) -> float:
    """Share of the test features, in [0, 1], whose class gets the most votes of `knn_scores`; a tie goes to the lower class.

    A test label that no bank feature has counts as a mistake. Raises ValueError as `knn_scores` does, and without test features.
    """
    if len(test) == 0 or test_label.shape != (len(test),):
        raise ValueError(f"kNN needs test features with a label each, got {len(test)} features and labels of shape "
                         f"{tuple(test_label.shape)}")
    scores = knn_scores(bank, bank_label, test, k=k, temperature=temperature, chunk=chunk)
    return float((scores.argmax(1) == test_label.to(scores.device)).float().mean())


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=1)
