"""Weighted k-nearest-neighbour classification of frozen features, as self-supervised papers report it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
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
    _check(bank, bank_label, [k], temperature)
    count = int(bank_label.max()) + 1 if classes is None else classes
    if int(bank_label.max()) >= count:
        raise ValueError(f"classes={count} needs to be above the largest label, {int(bank_label.max())}")
    found = _nearest(_unit(bank), _unit(queries), k, chunk)
    return torch.cat([_votes(similarity, bank_label[row], temperature, count) for similarity, row in found])


@torch.no_grad()
def knn_predictions(bank: Tensor, bank_label: Tensor, queries: Tensor, *, ks: tuple[int, ...] = (20,),
                    temperature: float = 0.07, chunk: int = 1024, ranks: bool = False) -> dict[int, Tensor]:
    """For each k of `ks` the class (Q,) int64 that gets the most votes of `knn_scores`, from one search for neighbours.

    ranks: every rank of torch.distributed calls this, with the same arguments; each searches its part of the bank, and all get
    what one alone would have found. Raises ValueError as `knn_scores` does.
    """
    _check(bank, bank_label, ks, temperature)
    count, most = int(bank_label.max()) + 1, max(ks)
    found = (_nearest_of_ranks if ranks else _nearest)(_unit(bank), _unit(queries), most, chunk)
    answers: dict[int, list[Tensor]] = {k: [] for k in ks}
    for similarity, row in found:
        label = bank_label[row]
        for k in ks:
            answers[k].append(_votes(similarity[:, :k], label[:, :k], temperature, count).argmax(1))
    return {k: torch.cat(answer) for k, answer in answers.items()}


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


def _check(bank: Tensor, bank_label: Tensor, ks: Sequence[int], temperature: float) -> None:
    for k in ks:
        if not 1 <= k <= len(bank):
            raise ValueError(f"k={k} needs to be in 1 .. {len(bank)}, the number of labelled features")
    if not temperature > 0:
        raise ValueError(f"temperature needs a number above 0, got {temperature}")
    if bank_label.shape != (len(bank),) or int(bank_label.min()) < 0:
        raise ValueError(f"bank_label needs shape ({len(bank)},) and classes >= 0, got {tuple(bank_label.shape)}, "
                         f"smallest {int(bank_label.min()) if bank_label.numel() else 'none'}")


def _votes(similarity: Tensor, label: Tensor, temperature: float, classes: int) -> Tensor:
    """(Q, classes) from the similarities (Q, k), falling, and the labels (Q, k) of the neighbours."""
    weight = ((similarity - similarity[:, :1]) / temperature).exp()
    return weight.new_zeros(len(weight), classes).scatter_add_(1, label, weight)


def _nearest(bank: Tensor, queries: Tensor, k: int, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Similarities (q, k), falling, and rows in the bank (q, k) of `chunk` queries at a time."""
    for piece in queries.split(chunk):
        yield (piece @ bank.T).topk(k, dim=1)


def _nearest_of_ranks(bank: Tensor, queries: Tensor, k: int, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
    """`_nearest`, where each rank looks through every world-size-th row of the bank."""
    rank, world = dist.get_rank(), dist.get_world_size()
    own = bank[rank::world].contiguous()
    for piece in queries.split(chunk):
        similarity, row = (piece @ own.T).topk(min(k, len(own)), dim=1)
        missing = k - similarity.shape[1]  # where a rank's part is smaller than k
        similarity, row = F.pad(similarity, (0, missing), value=-torch.inf), F.pad(row * world + rank, (0, missing))
        similarities = [torch.empty_like(similarity) for _ in range(world)]
        rows = [torch.empty_like(row) for _ in range(world)]
        dist.all_gather(similarities, similarity)
        dist.all_gather(rows, row)
        best, at = torch.cat(similarities, 1).topk(k, dim=1)
        yield best, torch.cat(rows, 1).gather(1, at)


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=1)
