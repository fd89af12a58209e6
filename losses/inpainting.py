"""Squared errors of what is painted into holes (Context Encoders, Pathak et al. 2016, arXiv:1604.07379)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def hole_weights(hole: Tensor, ring_px: int, ring: float, context: float) -> Tensor:
    """hole (N, H, W) bool, True = to be painted, to weights (N, 1, H, W) float32: 1 inside, `ring` in the outermost ring_px of
    the hole, which the authors leave visible (the distance is the larger of rows and columns), `context` outside of it. The
    image's own edge is no edge of a hole."""
    if hole.dtype != torch.bool:
        raise ValueError(f"hole needs bool, True = to be painted, got {hole.dtype}")
    known = (~hole).float()[:, None]
    near = F.max_pool2d(known, 2 * ring_px + 1, stride=1, padding=ring_px) if ring_px else known
    return torch.where(hole[:, None], torch.where(near > 0, ring, 1.0), context).to(torch.float32)


def weighted_mse(painted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Of each image the weighted squared errors, summed, over how many values count (have a weight above 0), then the mean over
    images. A scalar, float32 or wider. So a weight of 10 makes an error's gradient 10 times what a plain mean gives it.

    painted, target (N, C, H, W); weight (N, 1, H, W). Raises ValueError where shapes differ; an image of which nothing counts
    gives nan.
    """
    if painted.shape != target.shape or weight.shape != (len(target), 1, *target.shape[2:]):
        raise ValueError("painted, target (N, C, H, W) and weight (N, 1, H, W) need to fit, got "
                         f"{tuple(painted.shape)}, {tuple(target.shape)}, {tuple(weight.shape)}")
    with torch.autocast(painted.device.type, enabled=False):
        wide = torch.promote_types(painted.dtype, torch.float32)
        errors = (painted.to(wide) - target.to(wide)).square().mean(1, keepdim=True) * weight
        return (errors.sum((1, 2, 3)) / (weight > 0).sum((1, 2, 3))).mean()
