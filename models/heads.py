"""Small networks that methods put on top of a backbone and throw away after pretraining."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["affine", "gain", "plain", "none"]


def mlp(widths: Sequence[int], *, hidden_bias: bool = False, hidden_norm: bool = True, bias: bool = False,
        norm: Norm = "none") -> nn.Sequential:
    """(N, widths[0]) to (N, widths[-1]): linear, BN, ReLU for each width between, and a linear layer at the end.

    hidden_bias, hidden_norm: of the layers between; bias, norm: of the last. norm is the last one's batch norm: "affine" with
    gain and shift, "gain" with its shift held at 0 (SimCLR), "plain" with neither (Barlow Twins, SimSiam), "none". Weights
    begin as torch has them. Raises ValueError on fewer than two widths, a width below 1, another word for norm.
    """
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"an mlp needs at least two widths, each at least 1, got {list(widths)}")
    if norm not in ("affine", "gain", "plain", "none"):
        raise ValueError(f"norm needs 'affine', 'gain', 'plain' or 'none', got {norm!r}")
    layers: list[nn.Module] = []
    for before, width in pairwise(widths[:-1]):
        layers.append(nn.Linear(before, width, bias=hidden_bias))
        layers += [nn.BatchNorm1d(width)] if hidden_norm else []
        layers.append(nn.ReLU(inplace=True))
    layers.append(nn.Linear(widths[-2], widths[-1], bias=bias))
    if norm != "none":
        last = nn.BatchNorm1d(widths[-1], affine=norm != "plain")
        if norm == "gain":
            # Frozen instead of absent: conversion to batch norm over ranks then keeps it, and no optimizer sees it.
            last.bias.requires_grad_(False)
        layers.append(last)
    return nn.Sequential(*layers)


def refuse_one(head: nn.Sequential, images: int, method: str) -> None:
    """Raise ValueError where batch norm at the head's end would, in training, have the statistics of a single image."""
    if head.training and images < 2 and isinstance(head[-1], nn.modules.batchnorm._BatchNorm):
        raise ValueError(f"{method}: model.head_norm=true needs at least two images on each rank, got {images}; use a larger "
                         "batch_size")


def simclr_projector(in_dim: int, hidden_dim: int, out_dim: int, layers: int = 2) -> nn.Sequential:
    """(N, in_dim) to (N, out_dim), not normalised: linear, BN, ReLU, then linear, BN whose shift stays 0; layers: linear ones,
    2 in SimCLR v1, 3 in v2, those between hidden_dim wide; 0: nothing, and in_dim stays.

    No linear layer has a bias; their weights begin as Gaussians of standard deviation 0.01. Source: SimCLR, arXiv:2002.05709
    and 2006.10029; google-research/simclr, model_util.py, tf2/model.py. Raises ValueError on fewer than no layers.
    """
    if layers < 0:
        raise ValueError(f"SimCLR's projector needs at least 0 layers, got {layers}")
    if layers == 0:
        return nn.Sequential()
    head = mlp([in_dim, *[hidden_dim] * (layers - 1), out_dim], norm="gain")
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
    return head


def first_layers(head: nn.Sequential, layers: int) -> nn.Sequential:
    """The head up to and with what follows its linear layer number `layers`, from 1: the norm, the activation. The modules are
    the head's own. Raises ValueError where it has no so many."""
    begins = [place for place, module in enumerate(head) if isinstance(module, nn.Linear)]
    if not 1 <= layers <= len(begins):
        raise ValueError(f"a head of {len(begins)} layers has no first {layers}; 1 to {len(begins)} can be had")
    return head[: [*begins, len(head)][layers]]


class DinoHead(nn.Module):
    """(N, in_dim) to logits (N, out_dim) over prototypes: `bottleneck`, then cosines with `prototypes`.

    Three linear layers with biases and GELU between, hidden_dim wide, to bottleneck_dim; length 1; a linear layer without bias
    whose rows are `gain` times a direction. norm: batch norm before each GELU. Weights of the three begin as truncated Gaussians
    of standard deviation 0.02, biases at 0, gains at 1, held there unless trainable_gain. Source: DINO, arXiv:2104.14294;
    facebookresearch/dino, vision_transformer.py. Raises ValueError on a width below 1.
    """

    def __init__(self, in_dim: int, out_dim: int, *, hidden_dim: int = 2048, bottleneck_dim: int = 256, norm: bool = False,
                 trainable_gain: bool = False) -> None:
        super().__init__()
        if min(in_dim, out_dim, hidden_dim, bottleneck_dim) < 1:
            raise ValueError("DINO's head needs widths of at least 1, got "
                             f"{in_dim}, {hidden_dim}, {hidden_dim}, {bottleneck_dim}, {out_dim}")
        layers: list[nn.Module] = []
        for before in (in_dim, hidden_dim):
            layers += [nn.Linear(before, hidden_dim), *([nn.BatchNorm1d(hidden_dim)] if norm else []), nn.GELU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden_dim, bottleneck_dim))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.prototypes = Prototypes(bottleneck_dim, out_dim, trainable_gain)

    def bottleneck(self, x: Tensor) -> Tensor:
        """(N, in_dim) to (N, bottleneck_dim), each of length 1."""
        return F.normalize(self.mlp(x), dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.prototypes(self.bottleneck(x))
        return logits


class Prototypes(nn.Module):
    """A weight-normed linear layer without bias, (N, dim) to (N, count): row k is gain_k times direction_k of length 1.

    direction (count, dim) begins as torch's linear layers do, gain (count, 1) at 1. Not torch's own weight_norm, of which there
    are two, with other names for what they keep."""

    def __init__(self, dim: int, count: int, trainable_gain: bool) -> None:
        super().__init__()
        self.direction = nn.Parameter(nn.Linear(dim, count, bias=False).weight.detach())
        self.gain = nn.Parameter(torch.ones(count, 1), requires_grad=trainable_gain)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.gain * F.normalize(self.direction, dim=1))
