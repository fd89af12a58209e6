"""Small networks that methods put on top of a backbone and throw away after pretraining."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

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


def simclr_projector(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """(N, in_dim) to (N, out_dim), not normalised: linear, BN, ReLU, linear, BN whose shift stays 0.

    Neither linear layer has a bias; their weights begin as Gaussians of standard deviation 0.01. Source: SimCLR v1,
    arXiv:2002.05709; google-research/simclr, model_util.py.
    """
    head = mlp([in_dim, hidden_dim, out_dim], norm="gain")
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
    return head
