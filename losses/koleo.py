"""KoLeo, after Kozachenko and Leonenko's estimate of an entropy: points on a sphere are spread out by keeping each away from its
nearest neighbour (Sablayrolles et al. 2018, arXiv:1806.03198; facebookresearch/dinov2, loss/koleo_loss.py)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def koleo(x: Tensor, among: Tensor | None = None, begins: int = 0, *, eps: float = 1e-8) -> Tensor:
    """-log(distance + eps) from each row of x (N, D), at length 1, to its nearest neighbour, in the mean: a scalar, float32 or
    wider. The lower, the more evenly the sphere is filled: distances lie in [0, 2].

    among (M, D): where neighbours are looked for, with x's own rows from row `begins` on, none of which is its own neighbour;
    None: x itself. Both ends of a distance get its gradient; between rows that are alike it has no direction, and is 0 (the
    authors' code divides by next to nothing there). Raises ValueError where a row has no other, and on shapes that do not fit.
    """
    rows = x if among is None else among
    if x.ndim != 2 or rows.ndim != 2 or x.shape[1] != rows.shape[1] or not 0 <= begins <= len(rows) - len(x):
        raise ValueError(f"koleo needs x (N, D) that is N rows of among (M, D), got {tuple(x.shape)} and {tuple(rows.shape)} "
                         f"from row {begins} on")
    if len(rows) < 2:
        raise ValueError(f"koleo needs at least 2 rows, of which each has a neighbour, got {len(rows)}")
    with torch.autocast(x.device.type, enabled=False):
        own, others = (F.normalize(_wide(each), dim=1, eps=eps) for each in (x, rows))
        with torch.no_grad():
            cosines = own @ others.T
            cosines.diagonal(begins).fill_(-math.inf)
            nearest = cosines.argmax(1)
        distances = torch.linalg.vector_norm(own - others[nearest], dim=1)
        return -(distances + eps).log().mean()


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
