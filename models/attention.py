"""Where a vision transformer's class token looks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .vit import is_plain_vit, tokens


@torch.no_grad()
def class_attention(module: nn.Module, images: Tensor) -> Tensor:
    """(N, C, H, W) to (N, heads, rows, columns) float32, each at least 0: the share of the class token's attention that each
    patch has in the last block, softmax(q k / sqrt(d)) of each head. What the class token and registers keep is missing from
    the sum of 1.

    module: a plain vision transformer; of other sizes than its own, once `open_to_sizes`. Raises ValueError, one line, for any
    other network, one without class token, or an image that its patches do not divide.
    """
    return tokens_and_attention(module, images)[1]


@torch.no_grad()
def tokens_and_attention(module: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C, H, W) to tokens (N, prefix + L, D), after the last norm, and `class_attention`, of one pass. Raises ValueError as
    that does."""
    network: Any = module
    if not is_plain_vit(module) or network.cls_token is None or type(network.blocks[-1].attn).__name__ != "Attention":
        raise ValueError(f"backbone {type(module).__name__} has no class token that attends to patches; attention is for plain "
                         "vision transformers, for example vit_small_patch16_224")
    height, width = images.shape[2:]
    patch_px = network.patch_embed.patch_size
    if height % patch_px[0] or width % patch_px[1]:
        rows, columns = (max(round(side / patch), 1) for side, patch in zip((height, width), patch_px, strict=True))
        raise ValueError(f"patches of {patch_px[0]} px do not divide an image of {height} x {width} px; use "
                         f"{rows * patch_px[0]} x {columns * patch_px[1]} px")
    attention, taken = network.blocks[-1].attn, []
    hook = attention.register_forward_pre_hook(lambda _, given: taken.append(given[0]))
    try:
        found = tokens(network, images)
    finally:
        hook.remove()
    # timm's own product is fused and keeps no table: made anew, of the one row that is asked for.
    qkv = attention.qkv(taken[0]).unflatten(2, (3, attention.num_heads, attention.head_dim))
    q, k = attention.q_norm(qkv[:, 0, 0]), attention.k_norm(qkv[:, :, 1])  # (N, heads, d), (N, L, heads, d)
    scores = torch.einsum("nhd,nlhd->nhl", q.float(), k.float()) * attention.scale
    shares = scores.softmax(-1)[:, :, network.num_prefix_tokens :]
    return found, shares.unflatten(2, (height // patch_px[0], width // patch_px[1]))


def largest(shares: Tensor, mass: float) -> Tensor:
    """(..., rows, columns) at least 0 to bool of that shape: the fewest places that hold `mass`, in (0, 1], of all that is there.
    Source: facebookresearch/dino, visualize_attention.py, which takes 0.6. Raises ValueError on another mass."""
    if not 0 < mass <= 1:
        raise ValueError(f"mass needs a number in (0, 1], got {mass}")
    flat = shares.flatten(-2).double()
    ordered, place = flat.sort(-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    kept = before < mass * flat.sum(-1, keepdim=True)
    return torch.zeros_like(kept).scatter(-1, place, kept).unflatten(-1, shares.shape[-2:])
