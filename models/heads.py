"""Small networks that methods put on top of a backbone and throw away after pretraining."""

from __future__ import annotations

from torch import nn


def simclr_projector(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """(N, in_dim) to (N, out_dim), not normalised: linear, BN, ReLU, linear, BN whose shift stays 0.

    Neither linear layer has a bias; their weights begin as Gaussians of standard deviation 0.01. Source: SimCLR v1,
    arXiv:2002.05709; google-research/simclr, model_util.py.
    """
    last = nn.BatchNorm1d(out_dim)
    # Frozen instead of absent: conversion to batch norm over ranks then keeps it, and no optimizer sees it.
    last.bias.requires_grad_(False)
    head = nn.Sequential(
        nn.Linear(in_dim, hidden_dim, bias=False),
        nn.BatchNorm1d(hidden_dim),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_dim, out_dim, bias=False),
        last,
    )
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
    return head
