"""A plain vision transformer of timm's on images of other sizes than its own, and on some of its patches alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from .positions import sincos_2d
from .swin import open_windows


def open_to_sizes(module: nn.Module) -> None:
    """Let a vision transformer's patches, a Swin's too, be cut from images of any size that they divide; other networks are left
    alone."""
    open_windows(module)
    if isinstance(module, VisionTransformer):
        module.patch_embed.strict_img_size = False


def is_plain_vit(module: nn.Module) -> bool:
    """Whether it is timm's VisionTransformer itself, with a table of absolute positions, and none of its many relatives."""
    return type(module) is VisionTransformer and module.pos_embed is not None


def vit_of(weights: Mapping[str, Tensor], *, patch_px: int, side: int, depth: int, heads: int,
           activation: Literal["gelu", "quick_gelu"], eps: float) -> VisionTransformer:
    """A plain vision transformer made of weights under timm's names, float32, with a class token and `side` x `side` patches;
    whether it has registers, layer scale, biases and a norm before the blocks is as the weights say. eps: of all norms.

    Raises ValueError, one line, with the first weight that is missing, has another shape, or that such a network does not have.
    """
    width = weights["cls_token"].shape[-1]
    hidden = weights["blocks.0.mlp.fc1.weight"].shape[0]
    front = 1 + (weights["reg_token"].shape[1] if "reg_token" in weights else 0)
    with torch.device("meta"):
        vit = VisionTransformer(
            img_size=side * patch_px, patch_size=patch_px, in_chans=weights["patch_embed.proj.weight"].shape[1], num_classes=0,
            embed_dim=width, depth=depth, num_heads=heads, mlp_ratio=(hidden + 0.25) / width,  # timm rounds down
            qkv_bias="blocks.0.attn.qkv.bias" in weights, init_values=1.0 if "blocks.0.ls1.gamma" in weights else None,
            no_embed_class=weights["pos_embed"].shape[1] == side * side, reg_tokens=front - 1,
            pre_norm="norm_pre.weight" in weights, norm_layer=partial(nn.LayerNorm, eps=eps), act_layer=activation)
    wanted = vit.state_dict()
    for name in (*wanted, *weights):
        if name not in weights or name not in wanted:
            raise ValueError(f"{name!r} is {'missing' if name in wanted else 'no part of a plain vision transformer'}")
    for name, value in wanted.items():
        if value.shape != weights[name].shape:
            raise ValueError(f"{name} has shape {tuple(weights[name].shape)} where {tuple(value.shape)} is needed")
    vit.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    return vit


def begin_as_dino(module: nn.Module) -> None:
    """First weights as DINO's code has them, where timm's differ: the class token a Gaussian of standard deviation 0.02, not of
    1e-6. Other networks are left alone."""
    if isinstance(module, VisionTransformer) and module.cls_token is not None:
        nn.init.trunc_normal_(module.cls_token, std=0.02)


@torch.no_grad()
def begin_as_moco_v3(module: nn.Module, *, frozen_patches: bool) -> None:
    """First weights of a plain vision transformer as MoCo v3's code has them: fixed sin-cos positions, the row's half first; the
    class token a Gaussian of standard deviation 1e-6; Xavier's uniform law for all linear layers, of queries, keys and values
    each by itself, and for the patches' projection; biases 0. frozen_patches: that projection is not trained.

    Other networks are left alone. Source: arXiv:2104.02057; facebookresearch/moco-v3, vits.py.
    """
    if not is_plain_vit(module):
        return
    assert isinstance(module, VisionTransformer) and module.pos_embed is not None and module.patch_embed.grid_size is not None
    table, (rows, columns) = module.pos_embed, module.patch_embed.grid_size
    table.requires_grad_(False)
    fixed = sincos_2d(rows, columns, table.shape[2], table.shape[1] - rows * columns)
    table.copy_(fixed.roll(table.shape[2] // 2, 1))  # MAE's, whose first half is the column's
    if module.cls_token is not None:
        nn.init.normal_(module.cls_token, std=1e-6)
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear):
            for matrix in layer.weight.chunk(3) if name.endswith("qkv") else [layer.weight]:
                nn.init.xavier_uniform_(matrix)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    patches = module.patch_embed.proj
    nn.init.xavier_uniform_(patches.weight.view(len(patches.weight), -1))
    if patches.bias is not None:
        nn.init.zeros_(patches.bias)
    patches.requires_grad_(not frozen_patches)


def features_of(module: nn.Module, images: Tensor) -> Tensor:
    """Any backbone's features (N, D) of images (N, C, H, W): what `module(images)` is, but that a plain vision transformer, once
    `open_to_sizes`, takes H and W that are not its own. Raises ValueError, one line, where the network takes no such images."""
    with one_line(module, images):
        if is_plain_vit(module):
            assert isinstance(module, VisionTransformer)
            features: Tensor = module.forward_head(tokens(module, images))
        else:
            features = module(images)
    return features


@contextmanager
def one_line(module: nn.Module, images: Tensor) -> Iterator[None]:
    """Raise ValueError, one line, where timm asserts that the network takes no images (N, C, H, W) of such a size."""
    height, width = images.shape[2:]
    try:
        yield
    except AssertionError as error:
        raise ValueError(f"backbone {type(module).__name__} takes no views of {height} x {width} px: {error}; use views of its "
                         "own size, or a plain ViT, a Swin or a convolutional network") from None


def tokens(vit: VisionTransformer, images: Tensor, visible: Tensor | None = None) -> Tensor:
    """images (N, C, H, W) to tokens (N, prefix + K, D) after the last norm: class token and registers, then patches.

    visible (N, K): which patches are let in, each with the position it has in the image; None: all of them.
    """
    x = vit.patch_embed(images)
    patch_px = vit.patch_embed.patch_size
    table = positions(vit, images.shape[2] // patch_px[0], images.shape[3] // patch_px[1])
    ahead = table.shape[1] - x.shape[1]  # positions of the tokens in front: theirs, or none
    x = x + table[:, ahead:]
    if visible is not None:
        x = x.gather(1, visible[:, :, None].expand(-1, -1, x.shape[2]))
    front = [token.expand(len(x), -1, -1) for token in (vit.cls_token, vit.reg_token) if token is not None]
    if front:
        first = torch.cat(front, 1)
        x = torch.cat([first + table[:, :ahead] if ahead else first, x], 1)
    return vit.norm(vit.blocks(vit.norm_pre(vit.patch_drop(vit.pos_drop(x)))))


def positions(vit: VisionTransformer, rows: int, columns: int) -> Tensor:
    """The table of positions (1, prefix + rows * columns, D) for a grid of patches; its own grid's as it is.

    For another, DINO's way: bicubic (a = -0.75) by a factor of (n + 0.1) / own, not to a size. The 0.1 was to save the size
    from rounding, yet it also moves where each patch reads: patch i at (i + 0.5) * own / (n + 0.1) - 0.5. Weights trained so
    need it so.
    Source: facebookresearch/dino, vision_transformer.py.
    """
    own = vit.patch_embed.grid_size
    table = vit.pos_embed
    assert table is not None and own is not None
    if (rows, columns) == tuple(own):
        return table
    ahead = table.shape[1] - own[0] * own[1]
    grid = table[:, ahead:].unflatten(1, own).permute(0, 3, 1, 2)
    scale = (rows + 0.1) / own[0], (columns + 0.1) / own[1]
    grid = F.interpolate(grid, scale_factor=scale, mode="bicubic").permute(0, 2, 3, 1).flatten(1, 2)
    return torch.cat([table[:, :ahead], grid], 1)


def patches_alone(vit: VisionTransformer) -> VisionTransformer:
    """The transformer itself, changed so that it has no class token and no registers, nor positions for them, and its features
    are the mean over patches: what timm builds with class_token=False, reg_tokens=0, global_pool="avg", fc_norm=False."""
    table, patches = vit.pos_embed, vit.patch_embed.num_patches
    assert table is not None and patches is not None
    vit.pos_embed = nn.Parameter(table.detach()[:, table.shape[1] - patches :].clone(), table.requires_grad)
    vit.cls_token = vit.reg_token = None
    vit.has_class_token, vit.num_prefix_tokens, vit.num_reg_tokens, vit.global_pool = False, 0, 0, "avg"
    return vit
