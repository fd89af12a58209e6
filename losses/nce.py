"""Noise-contrastive estimation against a memory bank, as in Instance Discrimination (Wu et al. 2018, arXiv:1805.01978)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPS = 1e-7


def nce_terms(scores: Tensor, *, temperature: float, z: float, images: int) -> Tensor:
    """The terms that add up to the loss of each image. scores (B, 1 + m): dot products of its embedding with its own row of the
    bank and with m rows drawn as noise; terms of the same shape.

    P = exp(score / temperature) / z is the model's probability of a row among all `images`, Pn = 1 / images the noise's: the
    positive costs -log(P / (P + m Pn)), a negative -log(m Pn / (P + m Pn)). 1e-7 is added to each denominator, as in the
    authors' code. float32, inside autocast too. Raises ValueError on a temperature or z of 0 or less.
    """
    if not temperature > 0 or not z > 0:
        raise ValueError(f"temperature and z need numbers above 0, got {temperature} and {z}")
    with torch.autocast(scores.device.type, enabled=False):
        noise = (scores.shape[1] - 1) / images
        model = (_float(scores) / temperature).exp() / z
        below = (model + (noise + EPS)).log()
        return torch.cat([below[:, :1] - model[:, :1].log(), below[:, 1:] - math.log(noise)], 1)


def nce(scores: Tensor, *, temperature: float, z: float, images: int) -> Tensor:
    """The mean over images of the sum of their `nce_terms`. scores (B, 1 + m), positives first; scalar."""
    terms = nce_terms(scores, temperature=temperature, z=z, images=images)
    return terms.sum(1).mean()


def _float(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
