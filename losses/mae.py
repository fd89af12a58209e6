"""What MAE reconstructs and how it is judged (He et al. 2021, arXiv:2111.06377)."""

from __future__ import annotations

import torch
from torch import Tensor


def patchify(images: Tensor, patch_px: int) -> Tensor:
    """images (N, C, H, W) to (N, L, p * p * C): patches row by row, each flattened as (row, column, channel).

    Raises ValueError where patch_px does not divide height and width."""
    n, c, h, w = images.shape
    if patch_px < 1 or h % patch_px or w % patch_px:
        raise ValueError(f"patch_px={patch_px} needs to divide the image's height and width, got {h} x {w}")
    rows, columns = h // patch_px, w // patch_px
    return images.reshape(n, c, rows, patch_px, columns, patch_px).permute(0, 2, 4, 3, 5, 1).reshape(
        n, rows * columns, patch_px * patch_px * c)


def unpatchify(patches: Tensor, patch_px: int, rows: int, columns: int) -> Tensor:
    """patches (N, rows * columns, p * p * C) back to (N, C, H, W), the inverse of `patchify`. Raises ValueError where
    they do not fit."""
    n, length, values = patches.shape
    if length != rows * columns or values % (patch_px * patch_px):
        raise ValueError(f"a grid of {rows} x {columns} patches of {patch_px} px does not hold {tuple(patches.shape)}")
    c = values // (patch_px * patch_px)
    return patches.reshape(n, rows, columns, patch_px, patch_px, c).permute(0, 5, 1, 3, 2, 4).reshape(
        n, c, rows * patch_px, columns * patch_px)


def normalize_patches(patches: Tensor, eps: float = 1e-6) -> Tensor:
    """Each patch minus its mean, over sqrt(variance + eps); the variance is unbiased (n - 1), and both are taken over all
    p * p * C values jointly, not per channel. patches (N, L, values)."""
    mean = patches.mean(-1, keepdim=True)
    return (patches - mean) / (patches.var(-1, keepdim=True, unbiased=True) + eps).sqrt()


def like_patches(normalized: Tensor, patches: Tensor, eps: float = 1e-6) -> Tensor:
    """Back to pixels: with the mean and the standard deviation of these true patches. Both (N, L, values)."""
    return patches.mean(-1, keepdim=True) + normalized * (patches.var(-1, keepdim=True, unbiased=True) + eps).sqrt()


def masked_mse(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Squared error, mean over the values of a patch, then mean over the masked patches. A scalar, float32 or wider.

    prediction, target (N, L, values); mask (N, L) bool, True = masked. Nothing masked gives nan: there is no mean.
    Raises ValueError where shapes differ or the mask is not bool (0 and 1 mean the opposite in some codes).
    """
    if prediction.shape != target.shape or mask.shape != prediction.shape[:2]:
        raise ValueError("prediction, target (N, L, values) and mask (N, L) need to fit, got "
                         f"{tuple(prediction.shape)}, {tuple(target.shape)}, {tuple(mask.shape)}")
    if mask.dtype != torch.bool:
        raise ValueError(f"mask needs bool, True = masked, got {mask.dtype}")
    with torch.autocast(prediction.device.type, enabled=False):
        wide = torch.promote_types(prediction.dtype, torch.float32)
        errors = (prediction.to(wide) - target.to(wide)).square().mean(-1)
        return (errors * mask).sum() / mask.sum()
