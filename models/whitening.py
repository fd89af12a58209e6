"""Principal directions of features, each with a variance of 1, over ranks that each hold some of the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .distributed import rank

LEAST = 1e-10  # share of the largest variance, below which a direction is noise of rounding


@torch.no_grad()
def whitening(blocks: Sequence[Tensor], dim: int, add_up: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """blocks of rows (n, D) to their mean (D,) and a matrix (D, d), both float32: (rows - mean) @ matrix are the d = min(dim, D)
    directions of largest variance, brought to 1 each, uncorrelated; a direction without variance is 0.

    Sums are float64. add_up: adds a tensor up over all processes, which all get the same. Source: DeepCluster,
    facebookresearch/deepcluster, clustering.py (faiss.PCAMatrix with eigen_power -0.5).
    """
    first = blocks[0]
    total = torch.zeros(first.shape[1] + 1, dtype=torch.float64, device=first.device)
    for block in blocks:
        total[:-1] += block.double().sum(0)
        total[-1] += len(block)
    total = add_up(total)
    mean = total[:-1] / total[-1]
    products = torch.zeros(first.shape[1], first.shape[1], dtype=torch.float64, device=first.device)
    for block in blocks:
        centred = block.double() - mean
        products += centred.T @ centred
    variances, directions = torch.linalg.eigh(add_up(products) / total[-1])  # ascending
    variances, directions = variances.flip(0)[:dim], directions.flip(1)[:, :dim]
    scale = variances.clamp(min=0).rsqrt().where(variances > LEAST * variances[0].clamp(min=torch.finfo(torch.float64).tiny), 0)
    matrix = directions * scale
    # Rank 0's for all: of a direction and its opposite each may find another one.
    return mean.float(), add_up(matrix if rank() == 0 else torch.zeros_like(matrix)).float()
