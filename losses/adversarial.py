"""Both sides of a game between a network that makes images and one that tells them from real ones (arXiv:1406.2661)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def judging_bce(real: Tensor, made: Tensor) -> Tensor:
    """The judge's loss: cross-entropy of real images taken for real, plus that of made ones taken for made, a mean each.

    real, made: any shapes, logits of being real. A scalar, float32 or wider; 2 ln 2 where nothing is told apart.
    """
    return F.softplus(-_wide(real)).mean() + F.softplus(_wide(made)).mean()


def fooling_bce(made: Tensor) -> Tensor:
    """The maker's: cross-entropy of its images taken for real, ln 2 where nothing is told apart."""
    return F.softplus(-_wide(made)).mean()


def judging_hinge(real: Tensor, made: Tensor) -> Tensor:
    """The judge's: mean of max(0, 1 - real) plus mean of max(0, 1 + made) (arXiv:1705.02894). real, made: scores, any shapes; 2
    where all are 0."""
    return F.relu(1 - _wide(real)).mean() + F.relu(1 + _wide(made)).mean()


def fooling_hinge(made: Tensor) -> Tensor:
    """The maker's: minus the mean score of its images."""
    return -_wide(made).mean()


def _wide(scores: Tensor) -> Tensor:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))
