"""Small networks that paint, put on top of a backbone and thrown away after pretraining."""

from __future__ import annotations

from torch import nn


def upconv(in_dim: int, out_dim: int, *, doublings: int, width: int) -> nn.Sequential:
    """(N, in_dim, h, w) to (N, out_dim, h * 2**doublings, w * 2**doublings): for each doubling a transposed convolution of 4 x 4,
    `width` channels, BN and ReLU; then a convolution of 1 x 1. Weights begin as torch's.

    Raises ValueError on a negative number of doublings, or a width below 1.
    """
    if doublings < 0 or min(in_dim, out_dim, width) < 1:
        raise ValueError(f"an up-convolution needs doublings >= 0 and widths >= 1, got {doublings} and {in_dim}, {width}, "
                         f"{out_dim}")
    layers: list[nn.Module] = []
    for number in range(doublings):
        layers += [nn.ConvTranspose2d(width if number else in_dim, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width),
                   nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(width if doublings else in_dim, out_dim, 1))
