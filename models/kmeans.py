"""Spherical k-means: unit vectors in groups by cosine, over ranks that each hold some of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

CELLS = 1 << 24  # of the table rows x centroids, at a time
UNIT = 2.0**32  # sums are of whole numbers, so that no order and no number of ranks changes a bit of them


@torch.no_grad()
def spherical_kmeans(rows: Tensor, centroids: Tensor, *, iterations: int = 10,
                     add_up: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """rows (n, D) float32 of length 1 or 0 and first centroids (K, D) of length 1 to the centroids after so many iterations, (K,
    D), and each row's group (n,) int64, by them.

    An iteration: each row joins the centroid of the largest cosine; each centroid becomes the mean direction of its rows; one
    without rows, or whose rows cancel out, stays. Rows of zeros, which stand for none, move no centroid, and their group means
    nothing. add_up: where several processes hold rows, which may differ in number: adds a tensor up over all of them; centroids
    are given, and come out, the same on each. Memory beside the rows is a block of them by K. Raises ValueError unless rows and
    centroids fit. Source: DeepCluster-v2, facebookresearch/swav, main_deepclusterv2.py.
    """
    if rows.ndim != 2 or centroids.ndim != 2 or rows.shape[1] != centroids.shape[1] or len(centroids) < 1:
        raise ValueError(f"k-means needs rows (n, D) and centroids (K, D), got {tuple(rows.shape)} and {tuple(centroids.shape)}")
    with torch.autocast(rows.device.type, enabled=False):
        for _ in range(iterations):
            sums = torch.zeros(centroids.shape, dtype=torch.int64, device=rows.device)
            for block in _blocks(rows, centroids):
                sums.index_add_(0, _nearest(block, centroids), (block * UNIT).round().long())
            sums = sums if add_up is None else add_up(sums)
            means = F.normalize(sums.double(), dim=1).to(centroids.dtype)
            centroids = torch.where(sums.any(1, keepdim=True), means, centroids)
        groups = [_nearest(block, centroids) for block in _blocks(rows, centroids)]
    return centroids, torch.cat([torch.zeros(0, dtype=torch.int64, device=rows.device), *groups])


def _blocks(rows: Tensor, centroids: Tensor) -> tuple[Tensor, ...]:
    return rows.split(max(CELLS // len(centroids), 1)) if len(rows) else ()


def _nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    return (rows @ centroids.T).argmax(1)
