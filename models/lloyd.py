"""Lloyd's k-means: rows in groups by distance, over ranks that each hold some of them; none of the groups stays empty."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CELLS = 1 << 24  # of the table rows x centroids, at a time
UNIT = 2.0**32  # sums are of whole numbers, so that no order and no number of ranks changes a bit of them
APART = 1 / 1024  # of their own values, two centroids that share one's rows


@torch.no_grad()
def kmeans(rows: Tensor, centroids: Tensor, *, iterations: int = 20,
           add_up: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """rows (n, D) float32 within [-1, 1] and first centroids (K, D) to the centroids after so many iterations, (K, D), and each
    row's nearest one (n,) int64.

    An iteration: each row joins the nearest centroid, each centroid becomes the mean of its rows, and one without rows takes
    half of those of the largest: it stands where that stood, both 1 / 1024 off, one more and one less from value to value. That
    is what faiss does, which DeepCluster uses, but that it draws whose rows are shared, by size. add_up: where several processes
    hold rows, which may differ in number: adds a tensor up over all of them; centroids are given, and come out, the same on each.
    Raises ValueError unless rows and centroids fit.
    """
    if rows.ndim != 2 or centroids.ndim != 2 or rows.shape[1] != centroids.shape[1] or len(centroids) < 1:
        raise ValueError(f"k-means needs rows (n, D) and centroids (K, D), got {tuple(rows.shape)} and {tuple(centroids.shape)}")
    with torch.autocast(rows.device.type, enabled=False):
        for _ in range(iterations):
            # One column more counts the rows.
            sums = torch.zeros(len(centroids), rows.shape[1] + 1, dtype=torch.int64, device=rows.device)
            for block in _blocks(rows, len(centroids)):
                whole = torch.cat([(block.double() * UNIT).round().long(), block.new_ones(len(block), 1).long()], 1)
                sums.index_add_(0, _nearest(block, centroids), whole)
            sums = sums if add_up is None else add_up(sums)
            counts = sums[:, -1]
            means = sums[:, :-1].double() / (UNIT * counts.clamp(min=1)[:, None])
            centroids = _shared_out(means.to(centroids.dtype), counts)
        nearest = [_nearest(block, centroids) for block in _blocks(rows, len(centroids))]
    return centroids, torch.cat([torch.zeros(0, dtype=torch.int64, device=rows.device), *nearest])


def _blocks(rows: Tensor, centroids: int) -> tuple[Tensor, ...]:
    return rows.split(max(CELLS // centroids, 1)) if len(rows) else ()


def _nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    return (rows @ centroids.T - centroids.square().sum(1) / 2).argmax(1)


def _shared_out(centroids: Tensor, counts: Tensor) -> Tensor:
    """centroids (K, D), of which those with a count of 0 are put beside the largest's, one after the other."""
    counts = counts.cpu()
    aside = 1 + APART * (1 - 2 * (torch.arange(centroids.shape[1], device=centroids.device) % 2))
    for empty in (counts == 0).nonzero().flatten().tolist():
        largest = int(counts.argmax())
        centroids[empty] = centroids[largest] * aside
        centroids[largest] *= 2 - aside
        counts[empty] = counts[largest] // 2
        counts[largest] -= counts[empty]
    return centroids
