"""Networks of timm's from the weights in other people's files: all sizes are read off names and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import isqrt
from typing import Any

import torch
from timm.models.beit import Beit
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ..vit import vit_of

Tensors = Mapping[str, Tensor]
_OTHERS = ("norm_pre.", "dist_token", "reg_token", "attn_pool.", "rope.")
"""Of ViTs that add something up that is not done here: they are not to be taken for plain ones."""
_HEADS = {1280: 16, 1408: 16}  # ViT-H and ViT-g; all other widths have 64 channels a head


def plain_vit(tensors: Tensors, heads: int | None = None) -> VisionTransformer:
    """patch_embed, cls_token, pos_embed, register_tokens, blocks.N.{norm1, attn, norm2, mlp, gamma_1, gamma_2, ls1, ls2}, and
    norm or, of a fine-tuned one, fc_norm: behind the mean of the patch tokens. heads: which no file says; None: of 64 channels
    each, 16 of ViT-H and ViT-g.

    Raises ValueError, as all here do, with what is missing or another shape.
    """
    patch = tensors["patch_embed.proj.weight"].shape
    if len(patch) != 4 or patch[2] != patch[3]:
        raise ValueError(f"patch_embed.proj.weight has shape {tuple(patch)}, where square patches are needed")
    own = ("cls_token", "pos_embed", "patch_embed.", "norm.", "blocks.")
    named = {name.replace(".gamma_1", ".ls1.gamma").replace(".gamma_2", ".ls2.gamma"): value
             for name, value in tensors.items() if name.startswith(own)}
    unknown = next((name for name in tensors if name.startswith(_OTHERS)), None)
    if unknown is not None or ("norm.weight" in tensors and "fc_norm.weight" in tensors):
        raise ValueError(f"{unknown or 'fc_norm.weight'!r} belongs to a vision transformer of another kind")
    if "register_tokens" in tensors:  # DINOv2's, whose class token alone has a position beside the patches
        first = named["pos_embed"][:, :1]
        named |= {"reg_token": tensors["register_tokens"], "cls_token": named["cls_token"] + first,
                  "pos_embed": named["pos_embed"][:, 1:]}
    late = "norm.weight" not in named and "fc_norm.weight" in tensors
    if late:
        named |= {f"norm.{part}": tensors[f"fc_norm.{part}"] for part in ("weight", "bias")}
    for name in ("cls_token", "pos_embed", "blocks.0.mlp.fc1.weight"):
        if name not in named:
            raise ValueError(f"{name!r} is missing")
    places, width = named["pos_embed"].shape[1] - ("reg_token" not in named), named["cls_token"].shape[-1]
    vit = vit_of(named, patch_px=int(patch[2]), side=_side(places, "pos_embed"), depth=_count(named, "blocks."),
                 heads=heads or _HEADS.get(width) or max(width // 64, 1), activation="gelu", eps=1e-6)
    if late:
        vit.fc_norm, vit.norm, vit.global_pool = vit.norm, nn.Identity(), "avg"
    return vit


def relative_vit(tensors: Tensors) -> Beit:
    """BEiT's: blocks.N.attn.{q_bias, v_bias} beside qkv.weight, blocks.N.{gamma_1, gamma_2}, and a table of relative positions
    for all blocks, rel_pos_bias.relative_position_bias_table, or one in each; norm, or of a fine-tuned one fc_norm."""
    own = ("cls_token", "pos_embed", "patch_embed.", "norm.", "fc_norm.", "blocks.", "rel_pos_bias.")
    named = {name: value for name, value in tensors.items()
             if name.startswith(own) and not name.endswith("relative_position_index")}
    width, patch_px = named["cls_token"].shape[-1], named["patch_embed.proj.weight"].shape[-1]
    shared, each = (f"{where}.relative_position_bias_table" for where in ("rel_pos_bias", "blocks.0.attn"))
    table = named.get(shared, named.get(each))
    if table is not None:  # (2 g - 1)^2 distances, and three that have to do with the class token
        side, heads = (_side(table.shape[0] - 3, "relative_position_bias_table") + 1) // 2, table.shape[1]
    else:
        side, heads = _side(named["pos_embed"].shape[1] - 1, "pos_embed"), max(width // 64, 1)
    hidden = named["blocks.0.mlp.fc1.weight"].shape[0]
    late = "fc_norm.weight" in named
    norm: Any = partial(nn.LayerNorm, eps=1e-6)
    beit = Beit(img_size=side * patch_px, patch_size=patch_px, in_chans=named["patch_embed.proj.weight"].shape[1], num_classes=0,
                global_pool="avg" if late else "token", embed_dim=width, depth=_count(named, "blocks."), num_heads=heads,
                mlp_ratio=(hidden + 0.25) / width, qkv_bias="blocks.0.attn.q_bias" in named,
                init_values=1.0 if "blocks.0.gamma_1" in named else None, use_abs_pos_emb="pos_embed" in named,
                use_rel_pos_bias=each in named, use_shared_rel_pos_bias=shared in named,
                norm_layer=norm)
    _fill(beit, named)
    return beit


def swin(tensors: Tensors) -> SwinTransformer:
    """patch_embed, layers.S.blocks.N.{norm1, attn, norm2, mlp}, layers.S.downsample behind the blocks, norm. The side of the
    pictures is read off the masks of shifted windows, where they are; else the last map is one window."""
    if "absolute_pos_embed" in tensors:
        raise ValueError("'absolute_pos_embed': a Swin with absolute positions is not known here")
    named = {}
    for name, value in tensors.items():
        if name.endswith((".relative_position_index", ".attn_mask")) or not name.startswith(("patch_embed.", "layers.", "norm.")):
            continue
        if ".downsample." in name:  # timm has it in front of the blocks of the next stage
            _, stage, rest = name.split(".", 2)
            name = f"layers.{int(stage) + 1}.{rest}"
        named[name] = value
    stages = _count(named, "layers.")
    tables = [named[f"layers.{stage}.blocks.0.attn.relative_position_bias_table"] for stage in range(stages)]
    window = (_side(tables[0].shape[0], "relative_position_bias_table") + 1) // 2
    patch, hidden = named["patch_embed.proj.weight"].shape, named["layers.0.blocks.0.mlp.fc1.weight"].shape[0]
    mask = tensors.get("layers.0.blocks.1.attn_mask")
    windows = 2 ** (stages - 1) if mask is None else _side(mask.shape[0], "attn_mask")
    network = SwinTransformer(img_size=windows * window * patch[-1], patch_size=patch[-1], in_chans=patch[1], num_classes=0,
                              embed_dim=patch[0], depths=tuple(_count(named, f"layers.{s}.blocks.") for s in range(stages)),
                              num_heads=tuple(table.shape[1] for table in tables), window_size=window,
                              mlp_ratio=(hidden + 0.25) / patch[0], qkv_bias="layers.0.blocks.0.attn.qkv.bias" in named)
    _fill(network, named)
    return network


def resnet(tensors: Tensors) -> ResNet:
    """torchvision's names: conv1, bn1, layerS.N.{conv1, bn1, ..., downsample.0, downsample.1}, of any depth, width and number of
    groups; also where the stem is as wide as the rest (SwAV's and VICReg's wide ones)."""
    own = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")
    named = {name: value for name, value in tensors.items() if name.startswith(own)}
    stem = named["conv1.weight"].shape
    if stem[2] != 7:
        raise ValueError(f"conv1.weight has shape {tuple(stem)}, of a stem that names do not tell whole")
    deep = "layer1.0.conv3.weight" in named
    last = "conv3" if deep else "conv2"
    planes = tuple(named[f"layer{s}.0.{last}.weight"].shape[0] // (4 if deep else 1) for s in (1, 2, 3, 4))
    middle = named["layer1.0.conv2.weight"].shape
    groups = middle[0] // middle[1]
    block: Any = Bottleneck if deep else BasicBlock
    with torch.device("meta"):
        network: Any = ResNet(block, tuple(_count(named, f"layer{s}.") for s in (1, 2, 3, 4)),
                              num_classes=0, in_chans=stem[1], cardinality=groups if deep else 1, channels=planes,
                              base_width=middle[0] * 64 // (planes[0] * groups) if deep else 64)
        if stem[0] != network.conv1.out_channels:
            first = network.layer1[0]
            network.conv1 = nn.Conv2d(stem[1], stem[0], 7, stride=2, padding=3, bias=False)
            network.bn1 = nn.BatchNorm2d(stem[0])
            first.conv1 = nn.Conv2d(stem[0], first.conv1.out_channels, first.conv1.kernel_size, padding=first.conv1.padding,
                                    bias=False)
            after = planes[0] * (4 if deep else 1)
            first.downsample = None if after == stem[0] else nn.Sequential(
                nn.Conv2d(stem[0], after, 1, bias=False), nn.BatchNorm2d(after))
    _fill(network, named)
    return network


def _count(tensors: Tensors, front: str) -> int:
    """How many there are of FRONT0, FRONT1, ..."""
    numbers = {name.removeprefix(front).partition(".")[0] for name in tensors if name.startswith(front)}
    if not numbers or numbers != {str(n) for n in range(len(numbers))}:
        raise ValueError(f"{front}N are numbered {', '.join(sorted(numbers)) or 'not at all'}")
    return len(numbers)


def _side(places: int, name: str) -> int:
    side = isqrt(max(places, 0))
    if side < 1 or side * side != places:
        raise ValueError(f"{name} is for {places} places, which are no square")
    return side


def _fill(network: nn.Module, named: Tensors) -> None:
    wanted = network.state_dict()
    given = {name: value.float() if value.is_floating_point() else value for name, value in named.items()}
    for name, value in wanted.items():
        if name.endswith("num_batches_tracked"):  # of no use, and not in old files
            given.setdefault(name, torch.tensor(0))
        elif name not in given:
            raise ValueError(f"{name!r} is missing")
        elif given[name].shape != value.shape:
            raise ValueError(f"{name} has shape {tuple(given[name].shape)} where {tuple(value.shape)} is needed")
    for name in given:
        if name not in wanted:
            raise ValueError(f"{name!r} is no part of a {type(network).__name__} like this")
    network.load_state_dict(given, assign=True)
