"""Pictures of what a method makes of an image's patches."""

from __future__ import annotations

import torch
from torch import Tensor


def spread(values: Tensor, like: Tensor) -> Tensor:
    """values (N, ..., rows, columns), one for each patch, to (N, ..., H, W) of pictures `like` (N, 3, H, W). Raises ValueError
    where the patches do not divide the picture."""
    (height, width), (rows, columns) = like.shape[-2:], values.shape[-2:]
    if height % rows or width % columns:
        raise ValueError(f"{rows} x {columns} patches do not divide a picture of {height} x {width} px")
    return values.repeat_interleave(height // rows, -2).repeat_interleave(width // columns, -1)


def overlaid(pictures: Tensor, masks: Tensor) -> Tensor:
    """pictures (N, 3, H, W) in [0, 1], gray where masks (N, rows, columns) bool hide a patch."""
    return torch.where(spread(masks.to(pictures.device), pictures)[:, None], 0.5, pictures)


def mapped(values: Tensor, like: Tensor) -> Tensor:
    """values (N, rows, columns), black at 0 and white at 1, as gray pictures (N, 3, H, W) of the size of `like`."""
    return spread(values.float().clamp(0, 1), like)[:, None].expand(-1, 3, -1, -1)

