"""timm's Swin transformer on images of other sizes than its own."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock
from torch import Tensor, nn


def is_swin(module: nn.Module) -> bool:
    return isinstance(module, SwinTransformer)


def open_windows(module: nn.Module) -> None:
    """Let a Swin transformer take images of any size that its patches divide; other networks are left alone.

    Windows keep their size, and how far they are shifted, since that is what the biases of positions belong to: a map that they
    do not divide is filled up with zeros, below and right, before windows are shifted, and cut again afterwards. Images of its
    own size give what timm makes of them, to the bit.
    """
    if not isinstance(module, SwinTransformer):
        return
    patches: Any = module.patch_embed
    patches.strict_img_size = False
    blocks: list[Any] = [block for block in module.modules() if isinstance(block, SwinTransformerBlock)]
    for block in blocks:
        block.dynamic_mask = True
        block.__class__ = _OpenBlock


class _OpenBlock(SwinTransformerBlock):
    """A block whose class was changed: its weights and their names are what they were."""

    def _attn(self, x: Tensor) -> Tensor:
        """x (N, rows, columns, D) after the norm."""
        own: Any = super()._attn
        rows, columns = x.shape[1:3]
        if (rows, columns) == self.input_resolution:
            found: Tensor = own(x)
            return found
        # timm shifts before it fills up: its mask, which is for a map that was filled up first, would then let opposite edges
        # of the image see each other, and part neighbours. Source of this order: microsoft/Swin-Transformer, for detection.
        below, right = (-side % window for side, window in zip((rows, columns), self.window_size, strict=True))
        found = own(F.pad(x, (0, 0, 0, right, 0, below)))
        return found[:, :rows, :columns]


def replaced_map(swin: Any, images: Tensor, mask: Tensor | None, token: Tensor) -> Tensor:
    """images (N, C, H, W) through a Swin to its last map after the norm, (N, rows, columns, D). mask (N, L) bool: patches, row by
    row, that `token` (1, 1, width of the first stage) replaces once they are embedded; None: none."""
    x = swin.patch_embed(images)
    if mask is not None:
        x = torch.where(mask.reshape(*x.shape[:3], 1), token.to(x.dtype), x)
    found: Tensor = swin.norm(swin.layers(x))
    return found
