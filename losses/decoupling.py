"""Rotation feature decoupling (Feng, Xu, Tao, CVPR 2019): turns that are hard to tell count less, other features do not turn."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def rotation_loss(logits: Tensor, turn: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean over all (N,) views of weight * cross-entropy; scalar. logits (N, 4), turn (N,) int64, weights (N,), not
    normalised: what is left out by weights of 0 makes the loss smaller. None: all 1. float32 inside autocast."""
    with torch.autocast(logits.device.type, enabled=False):
        each = F.cross_entropy(_wide(logits), turn, reduction="none")
        return (each if weights is None else each * weights).mean()


def invariance_loss(features: Tensor) -> Tensor:
    """features (V, B, D) of V views of B images: the mean, over all V B D elements, of the square of what lies between an element
    and the mean of its image's views; scalar. float32 inside autocast.

    The mean has no gradient, as in the authors' code. It would be the same with one: what lies around a mean adds up to 0.
    """
    with torch.autocast(features.device.type, enabled=False):
        features = _wide(features)
        return (features - features.mean(0).detach()).square().mean()


def noise_weights(upright: Tensor, gamma: float = 2.0) -> Tensor:
    """upright (N, 4): the probability, in [0, 1], that an image upright and turned once, twice, three times looks upright. The
    weights (N, 4) of its turns: 1 for the upright one, 1 - upright^gamma for the others. A turn that cannot be told from an
    upright picture may be none: an example without a label, not one of the other class."""
    weights = 1 - upright**gamma
    weights[:, 0] = 1
    return weights


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
