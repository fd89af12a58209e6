"""Colours as classes: what a pixel's distribution over them costs, and how often each occurs.

Sources: Colorful Image Colorization (Zhang, Isola, Efros 2016, arXiv:1603.08511; richzhang/colorization,
resources/caffe_traininglayers.py); Split-Brain Autoencoders (Zhang, Isola, Efros 2017, arXiv:1611.09842).
"""

from __future__ import annotations

import torch
from torch import Tensor


def soft_cross_entropy(logits: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """logits (N, Q, H, W) over Q classes to -sum_q z_q log p_q of each pixel, (N, H, W), in nats, float32 or wider.

    The target z of a pixel is given by its K classes that are not 0: index (N, K, H, W) int64, none twice, and weight
    (N, K, H, W), which adds up to 1 over them. So no second array of Q classes is made. Raises ValueError where shapes do not
    fit.
    """
    n, _, height, width = logits.shape
    if index.shape != weight.shape or index.shape != (n, index.shape[1], height, width):
        raise ValueError("logits (N, Q, H, W) need a target of K classes, index and weight (N, K, H, W), got "
                         f"{tuple(logits.shape)}, {tuple(index.shape)} and {tuple(weight.shape)}")
    with torch.autocast(logits.device.type, enabled=False):
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return wide.logsumexp(1) - (weight.to(wide.dtype) * wide.gather(1, index)).sum(1)


def weighted_mean(of_pixels: Tensor, weight: Tensor) -> Tensor:
    """sum(weight * of_pixels) over the number of pixels, not over the sum of their weights: those of colours have a mean of 1
    over what they were counted on, and pixels of weight 0 count as pixels. Both (N, H, W); a scalar."""
    return (weight * of_pixels).mean()


def half_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """1/2 |prediction - target|^2 of each pixel, the mean over pixels. Both (N, C, H, W); a scalar, float32 or wider. Raises
    ValueError where shapes differ, which would broadcast."""
    if prediction.shape != target.shape:
        raise ValueError(f"prediction and target need one shape, got {tuple(prediction.shape)} and {tuple(target.shape)}")
    with torch.autocast(prediction.device.type, enabled=False):
        wide = torch.promote_types(prediction.dtype, torch.float32)
        return (prediction.to(wide) - target.to(wide)).square().sum(1).mean() / 2


def smoothed(prior: Tensor, centres: Tensor, sigma: float) -> Tensor:
    """prior (Q,), counts or frequencies of classes at centres (Q, D), to (Q,) float64 of the same sum: each class's share is
    spread over all by a Gaussian of their distance, sigma in the centres' unit. 0: the prior as it is.

    The paper has sigma 5 Lab units (unverified); its code reads a prior that is ready. Raises ValueError on a negative sigma.
    """
    if sigma < 0:
        raise ValueError(f"a prior is smoothed by a sigma of at least 0, got {sigma}")
    counts = prior.double()
    if sigma == 0:
        return counts
    squared = (centres.double()[:, None] - centres.double()).square().sum(-1)
    kernel = (squared / (-2 * sigma**2)).exp()
    return (kernel / kernel.sum(0)) @ counts
