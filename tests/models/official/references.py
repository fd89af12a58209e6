"""What the authors' networks compute, from their formulas, in float64: no code of ours or of timm's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Tensors = Mapping[str, Tensor]


def _norm(x: Tensor, t: Tensors, name: str, eps: float = 1e-6) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], eps)


def _linear(x: Tensor, t: Tensors, name: str) -> Tensor:
    return F.linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))


def _attention(x: Tensor, t: Tensors, name: str, heads: int, bias: Any = 0.0) -> Tensor:
    """bias: added to the logits (heads, L, L) before the softmax."""
    q_bias = t.get(f"{name}.q_bias")
    joint = t.get(f"{name}.qkv.bias") if q_bias is None else torch.cat([q_bias, 0 * q_bias, t[f"{name}.v_bias"]])
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(-3, -2)
               for part in F.linear(x, t[f"{name}.qkv.weight"], joint).chunk(3, -1))
    logits = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5 + bias
    return _linear((logits.softmax(-1) @ v).transpose(-3, -2).flatten(-2), t, f"{name}.proj")


def _mlp(x: Tensor, t: Tensors, name: str) -> Tensor:
    return _linear(F.gelu(_linear(x, t, f"{name}.fc1")), t, f"{name}.fc2")


def _double(t: Tensors) -> dict[str, Tensor]:
    return {name: value.double() if value.is_floating_point() else value for name, value in t.items()}


def _patches(images: Tensor, t: Tensors, patch: int) -> Tensor:
    return F.conv2d(images, t["patch_embed.proj.weight"], t["patch_embed.proj.bias"], stride=patch).flatten(2).transpose(1, 2)


def distances(grid: int) -> Tensor:
    """BEiT's (1 + L, 1 + L) rows of its table: by rows and columns apart; then from the class token, to it, and to itself."""
    size, span = grid * grid, 2 * grid - 1
    index = torch.zeros(size + 1, size + 1, dtype=torch.long)
    for a in range(size):
        for b in range(size):
            index[1 + a, 1 + b] = (a // grid - b // grid + grid - 1) * span + a % grid - b % grid + grid - 1
    index[0, :], index[:, 0], index[0, 0] = span * span, span * span + 1, span * span + 2
    return index


def vit_tokens(t: Tensors, images: Tensor, heads: int, patch: int = 4, depth: int = 2) -> Tensor:
    """(N, 1 + L, W) before the last norm, of ViTs with absolute or relative positions, with gains or without."""
    t, images = _double(t), images.double()
    x = _patches(images, t, patch)
    x = torch.cat([t["cls_token"].expand(len(x), -1, -1), x], 1) + t.get("pos_embed", torch.zeros(()))
    index = distances(images.shape[2] // patch)
    for n in range(depth):
        block = f"blocks.{n}"
        table = t.get("rel_pos_bias.relative_position_bias_table", t.get(f"{block}.attn.relative_position_bias_table"))
        bias = 0.0 if table is None else table[index].permute(2, 0, 1)
        one = torch.ones((), dtype=torch.float64)
        x = x + t.get(f"{block}.gamma_1", one) * _attention(_norm(x, t, f"{block}.norm1"), t, f"{block}.attn", heads, bias)
        x = x + t.get(f"{block}.gamma_2", one) * _mlp(_norm(x, t, f"{block}.norm2"), t, f"{block}.mlp")
    return x


def vit_class_token(t: Tensors, images: Tensor, heads: int) -> Tensor:
    return _norm(vit_tokens(t, images, heads), _double(t), "norm")[:, 0]


def vit_mean(t: Tensors, images: Tensor, heads: int) -> Tensor:
    return _norm(vit_tokens(t, images, heads), _double(t), "norm")[:, 1:].mean(1)


def vit_late_norm(t: Tensors, images: Tensor, heads: int) -> Tensor:
    """As fine-tuned: the norm behind the mean."""
    return _norm(vit_tokens(t, images, heads)[:, 1:].mean(1), _double(t), "fc_norm")


def swin(t: Tensors, images: Tensor, depths: tuple[int, ...], heads: tuple[int, ...], window: int, patch: int) -> Tensor:
    """The mean of the last map after its norm. Each place attends to those of its window; every other block moves windows by
    half, and keeps apart what lay at opposite edges."""
    t, images = _double(t), images.double()
    x = F.conv2d(images, t["patch_embed.proj.weight"], t["patch_embed.proj.bias"], stride=patch).permute(0, 2, 3, 1)
    x = _norm(x, t, "patch_embed.norm", 1e-5)
    for s, depth in enumerate(depths):
        for n in range(depth):
            name, side = f"layers.{s}.blocks.{n}", x.shape[1]
            shift = window // 2 if n % 2 and side > window else 0
            table = t[f"{name}.attn.relative_position_bias_table"]
            y, out = _norm(x, t, f"{name}.norm1", 1e-5), torch.zeros_like(x)
            for row in range(0, side, window):
                for column in range(0, side, window):
                    # The places of a window, after shifting; where they come from; and on which side of the edge they lay.
                    at = [((row + i + shift), (column + j + shift)) for i in range(window) for j in range(window)]
                    rows, columns = ([place[k] % side for place in at] for k in (0, 1))
                    zone = [(place[0] >= side, place[1] >= side) for place in at]
                    bias = torch.zeros(heads[s], len(at), len(at), dtype=torch.float64)
                    for a, (ra, ca) in enumerate(at):
                        for b, (rb, cb) in enumerate(at):
                            bias[:, a, b] = table[(ra - rb + window - 1) * (2 * window - 1) + ca - cb + window - 1]
                            if zone[a] != zone[b]:
                                bias[:, a, b] -= 100.0
                    out[:, rows, columns] = _attention(y[:, rows, columns], t, f"{name}.attn", heads[s], bias)
            x = x + out
            x = x + _mlp(_norm(x, t, f"{name}.norm2", 1e-5), t, f"{name}.mlp")
        if s + 1 < len(depths):
            parts = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
            x = _norm(torch.cat(parts, -1), t, f"layers.{s}.downsample.norm", 1e-5)
            x = _linear(x, t, f"layers.{s}.downsample.reduction")
    return _norm(x, t, "norm", 1e-5).mean((1, 2))


def resnet(t: Tensors, images: Tensor) -> Tensor:
    """torchvision's: the stride is in the 3 x 3 convolution, the first of a stage after the first."""
    t, x = _double(t), images.double()

    def normed(x: Tensor, name: str) -> Tensor:
        return F.batch_norm(x, t[f"{name}.running_mean"], t[f"{name}.running_var"], t[f"{name}.weight"], t[f"{name}.bias"])

    x = F.max_pool2d(normed(F.conv2d(x, t["conv1.weight"], stride=2, padding=3), "bn1").relu(), 3, 2, 1)
    for s in (1, 2, 3, 4):
        n = 0
        while f"layer{s}.{n}.conv1.weight" in t:
            name, stride, y = f"layer{s}.{n}", 2 if s > 1 and n == 0 else 1, x
            last = 3 if f"{name}.conv3.weight" in t else 2
            for k in range(1, last + 1):
                weight = t[f"{name}.conv{k}.weight"]
                strided = stride if k == last - 1 else 1
                y = normed(F.conv2d(y, weight, stride=strided, padding=weight.shape[2] // 2), f"{name}.bn{k}")
                y = y.relu() if k < last else y
            if f"{name}.downsample.0.weight" in t:
                x = normed(F.conv2d(x, t[f"{name}.downsample.0.weight"], stride=stride), f"{name}.downsample.1")
            x, n = (x + y).relu(), n + 1
    return x.mean((2, 3))
