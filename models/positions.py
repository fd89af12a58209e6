"""Fixed positions of patches, as MAE has them."""

from __future__ import annotations

import torch
from torch import Tensor


def sincos_2d(rows: int, columns: int, dim: int, prefix: int = 0) -> Tensor:
    """(prefix + rows * columns, dim) float32: prefix rows of zeros (class token, registers), then the patches row by row.

    The first half of the channels encodes the column, the second half the row; each half is [sin, cos] of the index times
    10000 ** (-k / (dim / 4)), k = 0 .. dim / 4 - 1. timm's `build_sincos2d_pos_embed` has other channel orders.
    Raises ValueError where 4 does not divide dim. Source: facebookresearch/mae, util/pos_embed.py.
    """
    if dim < 4 or dim % 4:
        raise ValueError(f"sin-cos positions need a width that 4 divides, got {dim}; use {max(dim - dim % 4, 4)}")
    omega = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))

    def encode(index: Tensor) -> Tensor:
        angle = index[:, None] * omega
        return torch.cat([angle.sin(), angle.cos()], 1)

    place = torch.arange(rows * columns, dtype=torch.int64)
    table = torch.cat([encode(place % columns), encode(place // columns)], 1)
    return torch.cat([torch.zeros(prefix, dim, dtype=torch.float64), table]).float()
