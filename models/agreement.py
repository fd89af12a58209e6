"""Whether what a loss compares agrees, and whether it agrees because everything is one: both rise in a collapse, one alone in a
run that learns."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .distributed import mean_of_rows


@torch.no_grad()
def agreement(a: Tensor, b: Tensor) -> dict[str, Tensor]:
    """a and b (N, D), or (V, N, D) of V views, to two scalars of float32 or wider, each a mean over views: {"cosine": mean
    cosine of a row of a and the same row of b, in [-1, 1], "spread": standard deviation of the coordinates of a's rows, at length
    1, times sqrt(D): 1 where they fill the sphere, 0 where they have collapsed, if only onto zeros}.

    Of the rows of all ranks, on each the same; ranks may hold different numbers of rows. Source: SimSiam, arXiv:2011.10566,
    section 4.1, without the sqrt(D). Raises ValueError on shapes that differ.
    """
    if a.shape != b.shape or a.ndim not in (2, 3):
        raise ValueError(f"what is compared needs one shape, (N, D) or (V, N, D), got {tuple(a.shape)} and {tuple(b.shape)}")
    u, v = (_unit(x).reshape(-1, *x.shape[-2:]).transpose(0, 1) for x in (a, b))  # (N, V, D)
    # Two reductions over ranks: the mean square less the square of the mean would be rounding where the spread is small.
    centre, _ = mean_of_rows(u.flatten(1))
    told, _ = mean_of_rows(torch.cat([(u * v).sum(2), (u - centre.reshape(u.shape[1:])).square().sum(2)], 1))
    cosine, variance = told.chunk(2)
    return {"cosine": cosine.mean(), "spread": variance.sqrt().mean()}


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)
