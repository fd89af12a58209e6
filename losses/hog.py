"""Histograms of oriented gradients, as MaskFeat's code has them (arXiv:2112.09133; facebookresearch/SlowFast, operators.py)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def hog(images: Tensor, *, bins: int = 9, cell_px: int = 8) -> Tensor:
    """images (N, C, H, W) to (N, C, bins, H / cell_px, W / cell_px), float32 or wider, without a gradient: of each cell and
    channel how much gradient there is in each of `bins` directions between 0 and 180 degrees, as a vector of length 1, or 0
    where there is none.

    Gradients are Sobel's, on an image that is mirrored at its edges; a pixel votes with its magnitude for one direction. There
    is no window over a cell, and cells are normalized by themselves. Raises ValueError where cells do not divide the image.
    """
    height, width = images.shape[2:]
    if cell_px < 1 or height % cell_px or width % cell_px:
        raise ValueError(f"HOG cells of {cell_px} px need to divide the image's height and width, got {height} x {width}")
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        x = F.pad(images.to(torch.promote_types(images.dtype, torch.float32)), (1, 1, 1, 1), mode="reflect")
        across = x[..., :, :-2] - x[..., :, 2:]
        gx = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
        down = x[..., :-2, :] - x[..., 2:, :]
        gy = down[..., :, :-2] + 2 * down[..., :, 1:-1] + down[..., :, 2:]
        # A direction and its opposite are one: floor takes the negative angles to -bins ... -1, the remainder back.
        direction = (torch.atan2(gx, gy) / math.pi * bins).floor().long() % bins
        votes = torch.zeros(*gx.shape[:2], bins, *gx.shape[2:], dtype=gx.dtype, device=gx.device)
        votes.scatter_(2, direction[:, :, None], torch.hypot(gx, gy)[:, :, None])
        cells = F.avg_pool2d(votes.flatten(1, 2), cell_px).unflatten(1, (-1, bins))
        return F.normalize(cells, dim=2)


def hog_of_patches(images: Tensor, patch_px: int, *, bins: int = 9, cell_px: int = 8) -> Tensor:
    """(N, C, H, W) to (N, L, C * bins * k * k), the histograms of the k x k cells of each patch, patches row by row; within one
    by channel, direction, row, column. Raises ValueError where cells do not divide the patches, or patches the image."""
    if patch_px % cell_px:
        raise ValueError(f"HOG cells of {cell_px} px need to divide patches of {patch_px} px")
    if images.shape[2] % patch_px or images.shape[3] % patch_px:
        raise ValueError(f"patches of {patch_px} px need to divide the image, got {images.shape[2]} x {images.shape[3]}")
    k = patch_px // cell_px
    found = hog(images, bins=bins, cell_px=cell_px).flatten(1, 2)
    n, values, rows, columns = found.shape
    patches = found.reshape(n, values, rows // k, k, columns // k, k).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(n, (rows // k) * (columns // k), values * k * k)
