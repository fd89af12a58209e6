"""BEiT's transformer of timm's, whose attention has a bias for each distance, on images of other sizes than its own."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.models.beit import Attention, Beit, RelativePositionBias, gen_relative_position_index
from torch import Tensor, nn

ALONE = 3
"""Rows at a table's end: class token to patch, patch to class token, class token to itself."""


def is_relative_vit(module: nn.Module) -> bool:
    """Whether it is BEiT's transformer without a table of absolute positions."""
    return isinstance(module, Beit) and module.pos_embed is None


def open_grids(vit: Any) -> None:
    """Let it take images of any size that its patches divide; see `set_grid`. Its weights and their names stay, and images of its
    own size give what timm makes of them, to the bit."""
    vit.patch_embed.strict_img_size = False
    parts: list[Any] = list(vit.modules())
    for part in parts:
        if isinstance(part, Attention | RelativePositionBias) and part.relative_position_bias_table is not None:
            part.__class__ = _OpenAttention if isinstance(part, Attention) else _OpenBias
    set_grid(vit, *vit.patch_embed.grid_size)


def set_grid(vit: Any, rows: int, columns: int) -> None:
    """How many patches the images have that come next. Biases between the distances that were learnt, and beyond, are as many as
    the new ones need, interpolated bicubically over all of them."""
    parts: list[Any] = list(vit.modules())
    for part in parts:
        if isinstance(part, _OpenAttention | _OpenBias):
            part.grid = (rows, columns)


def table_for(table: Tensor, own: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """table ((2 r - 1)(2 c - 1) + ALONE, heads) of r x c patches to that of another grid."""
    if grid == own:
        return table
    sides = [2 * side - 1 for side in own]
    between = table[:-ALONE].T.unflatten(1, sides)[None]
    found = F.interpolate(between, [2 * side - 1 for side in grid], mode="bicubic", align_corners=False)
    return torch.cat([found[0].flatten(1).T, table[-ALONE:]])


def _biases(part: Any) -> Tensor:
    """(heads, L + 1, L + 1)."""
    table = table_for(part.relative_position_bias_table, tuple(part.window_size), part.grid)
    index = part.relative_position_index
    if part.grid != tuple(part.window_size):
        index = gen_relative_position_index(part.grid, device=table.device)
    return table[index.view(-1)].view(*index.shape, -1).permute(2, 0, 1).contiguous()


class _OpenAttention(Attention):
    """A block's attention whose class was changed."""

    grid: tuple[int, int]

    def _get_rel_pos_bias(self) -> Tensor:
        return _biases(self)[None]


class _OpenBias(RelativePositionBias):
    """All blocks' table whose class was changed."""

    grid: tuple[int, int]

    def forward(self) -> Tensor:
        return _biases(self)
