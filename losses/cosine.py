"""How far predictions are from what they predict, by direction alone: BYOL's distance (Grill et al. 2020, arXiv:2006.07733) and
SimSiam's cosine (Chen, He 2020, arXiv:2011.10566)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def squared_distance(predictions: Tensor, targets: Tensor) -> Tensor:
    """The mean over rows of |p / |p| - z / |z||^2 = 2 - 2 cos(p, z), in [0, 4]; a scalar. predictions, targets (B, D), neither
    all zero.

    Targets have the gradient if they carry one: where it stops is the method's to say. Half precision is computed in float32,
    inside autocast too. Raises ValueError on shapes that differ. Source: equation 2 of BYOL's paper.
    """
    p, z = _unit(predictions, targets)
    return (p - z).square().sum(1).mean()


def negative_cosine(predictions: Tensor, targets: Tensor) -> Tensor:
    """The mean over rows of -cos(p, z), in [-1, 1]; a scalar: half of the above, minus 1. Otherwise as above. Source: equation 1
    of SimSiam's paper."""
    p, z = _unit(predictions, targets)
    return -(p * z).sum(1).mean()


def _unit(*given: Tensor) -> tuple[Tensor, ...]:
    shapes = [tuple(x.shape) for x in given]
    if shapes[0] != shapes[1] or len(shapes[0]) != 2:
        raise ValueError(f"predictions and targets need one shape (B, D), got {shapes[0]} and {shapes[1]}")
    return tuple(F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=1) for x in given)
