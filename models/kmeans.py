"""k-means: unit vectors in groups by cosine, over ranks that each hold some of them; or any vectors by their distance."""

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


@torch.no_grad()
def euclidean_kmeans(rows: Tensor, centroids: Tensor, *, iterations: int = 20) -> tuple[Tensor, Tensor]:
    """rows (n, D) float32 and first centroids (K, D) to the centroids after so many iterations, (K, D), and the nearest of each
    row (n,) int64.

    An iteration: each row joins the nearest centroid, each centroid becomes the mean of its rows. The k-th that has none becomes
    the row that is k-th farthest from its own, so that no cluster stays empty. Sums are in float64. Raises ValueError unless rows
    and centroids fit.
    """
    if rows.ndim != 2 or centroids.ndim != 2 or rows.shape[1] != centroids.shape[1] or not 1 <= len(centroids) <= len(rows):
        raise ValueError("k-means needs rows (n, D) and at most as many centroids (K, D), got "
                         f"{tuple(rows.shape)} and {tuple(centroids.shape)}")
    # A shift of all changes no distance, and one to their middle keeps float32 from rounding small differences of large numbers.
    middle = rows.double().mean(0)
    rows, centroids = (rows - middle.float()), (centroids - middle.float())
    with torch.autocast(rows.device.type, enabled=False):
        for _ in range(iterations):
            group, score = _closest(rows, centroids)
            sums = torch.zeros(centroids.shape, dtype=torch.float64, device=rows.device).index_add_(0, group, rows.double())
            counts = torch.bincount(group, minlength=len(centroids))
            centroids = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], 0.0).float()
            empty = torch.nonzero(counts == 0)[:, 0]
            centroids[empty] = rows[score.topk(len(empty)).indices]
        group, _ = _closest(rows, centroids)
    return centroids + middle.float(), group


def _closest(rows: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row the nearest centroid (n,) and the square of its distance (n,)."""
    half = centroids.square().sum(1) / 2
    found = [(block @ centroids.T - half).max(1) for block in _blocks(rows, centroids)]
    score = torch.cat([of.values for of in found])
    return torch.cat([of.indices for of in found]), rows.square().sum(1) - 2 * score


def _blocks(rows: Tensor, centroids: Tensor) -> tuple[Tensor, ...]:
    return rows.split(max(CELLS // len(centroids), 1)) if len(rows) else ()


def _nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    return (rows @ centroids.T).argmax(1)
