"""What a discrete autoencoder costs: its pixels by a law of their own, its codes against the uniform law (Ramesh et al. 2021,
arXiv:2102.12092, appendix A), and how many codes it uses."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def kl_to_uniform(logits: Tensor) -> Tensor:
    """logits (N, K, ...) to a scalar: KL of softmax over K against 1 / K, mean over N and places; nats in [0, ln K]."""
    log_q = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(1)
    return (log_q.exp() * log_q).sum(1).mean() + math.log(logits.shape[1])


def logit_laplace(images: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """-ln p of images, values in (0, 1), where logit(value) follows Laplace's law around mean with scale exp(log_scale); all of
    one shape; mean over values, nats. May be negative: it is a density. Values of 0 or 1 cost infinitely much."""
    wide = torch.promote_types(images.dtype, torch.float32)
    y, mean, log_scale = images.to(wide), mean.to(wide), log_scale.to(wide)
    return (math.log(2) + log_scale + (y * (1 - y)).log() + (y.logit() - mean).abs() * (-log_scale).exp()).mean()


def perplexity(counts: Tensor) -> Tensor:
    """counts (K,) at least 0, how often each code was taken, to a scalar in [1, K]: exp of the entropy of their shares; 1 also
    where nothing was counted."""
    share = counts.double() / counts.sum().clamp(min=1)
    return (-torch.special.xlogy(share, share).sum()).exp()


def half_cosine(progress: Tensor, first: float, last: float, share: float) -> Tensor:
    """progress, a scalar in [0, 1], to a value that goes from first at 0 to last at `share` along half a cosine, and stays."""
    way = (progress / max(share, 1e-12)).clamp(0, 1)
    return last + 0.5 * (first - last) * (1 + torch.cos(math.pi * way))
