"""Tiles of a picture through one network, each by itself; the same network on whole pictures; what stands on several tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from .alexnet import AlexNet
from .backbone import CIFAR_STEM_PX, backbone, is_resnet
from .layers import maps
from .views import Views
from .vit import one_line

SMALL_PX = 32  # tiles up to here get a ResNet's stem for small images; the published ones of 64 px its usual one
ALEXNET_STRIDE_PX = 96  # from here on conv1 keeps its stride of 4, as in Context Prediction; below it is 2, as in Jigsaw
LEAST_ALEXNET_PX = 39  # conv5's map then has three rows for the last pool
HeadNorm = Literal["affine", "plain", "none"]


def tile_backbone(name: str, tile_px: int, in_chans: int = 3) -> tuple[nn.Module, int]:
    """`backbone` for tiles (N, in_chans, tile_px, tile_px), and D. The network also takes larger pictures, at the scale at which
    tiles show things: a convolutional one as they are, one of fixed size (AlexNet, a ViT, a Swin) as `Pieces` of them.

    Raises ValueError as `backbone`, and for an AlexNet on tiles below 39 px.
    """
    if name == "alexnet" and tile_px < ALEXNET_STRIDE_PX:
        network: nn.Module = TileAlexNet(in_chans, tile_px)
        dim = TileAlexNet.DIM
    else:
        network, dim = backbone(name, tile_px, in_chans)
        if is_resnet(network) and SMALL_PX < tile_px <= CIFAR_STEM_PX:
            network, dim = backbone(name, CIFAR_STEM_PX + 1, in_chans)
    fixed = isinstance(network, AlexNet) or hasattr(network, "patch_embed")
    return (Pieces(network, tile_px) if fixed else network), dim


def embed_tiles(network: nn.Module, tiles: Tensor) -> Tensor:
    """tiles (T, B, C, h, w) to features (T, B, D): of all in one pass, so that batch norm sees them together."""
    with one_line(network, tiles[0]):
        features: Tensor = network(tiles.flatten(0, 1))
    return features.unflatten(0, tiles.shape[:2])


def tiles_of(batch: Views, group: str, count: int, method: str, recipe: str) -> Tensor:
    """(count, B, C, h, w). Raises ValueError where the recipe has not so many tiles in that group."""
    tiles = batch.views.get(group)
    if tiles is None or len(tiles) != count:
        raise ValueError(f"{method} needs {count} tiles in the group {group!r}, the recipe has "
                         f"{'none' if tiles is None else len(tiles)}; use recipe={recipe}")
    return tiles


class Pieces(nn.Module):
    """`network`, which takes tiles of tile_px alone, on larger pictures too: it sees as many tiles as cover the picture, evenly
    spread, and gives the mean of their features; its maps lie side by side."""

    side_by_side = ("network",)

    def __init__(self, network: nn.Module, tile_px: int) -> None:
        super().__init__()
        self.network, self.tile_px = network, tile_px

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W), H and W of at least tile_px, to (N, D). Raises ValueError on smaller ones."""
        return embed_tiles(self.network, self.cut(images)[0]).mean(0)

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """As `layers.maps`, of all tiles beside each other in the order in which they cover the picture."""
        tiles, (rows, columns) = self.cut(images)
        found = maps(self.network, tiles.flatten(0, 1))
        return {name: torch.cat([torch.cat(row.chunk(columns), 3) for row in of_all.chunk(rows)], 2)
                for name, of_all in found.items()}

    def cut(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(rows * columns, N, C, tile_px, tile_px) in raster order, and (rows, columns)."""
        side = self.tile_px
        if min(images.shape[2:]) < side:
            raise ValueError(f"a network of tiles of {side} px takes pictures from {side} px on, got "
                             f"{images.shape[2]} x {images.shape[3]}")
        tops, lefts = (_starts(length, side) for length in images.shape[2:])
        tiles = [images[:, :, top : top + side, left : left + side] for top in tops for left in lefts]
        return torch.stack(tiles), (len(tops), len(lefts))


class TileAlexNet(AlexNet):
    """AlexNet as Jigsaw's context-free network has it: conv1 of stride 2 without padding, and one layer, fc6, of 1024 values with
    dropout 0.5. Batch norm stands in the place of the release's local response norm.

    Source: arXiv:1603.09246; MehdiNoroozi/JigsawPuzzleSolver, train_val_cfn_jps.prototxt. Raises ValueError below 39 px.
    """

    DIM = 1024

    def __init__(self, in_chans: int, tile_px: int) -> None:
        if tile_px < LEAST_ALEXNET_PX:
            raise ValueError(f"tiles of {tile_px} px: backbone 'alexnet' needs at least {LEAST_ALEXNET_PX} px; use another "
                             "backbone, for example convnet4 or resnet18")
        super().__init__(in_chans)
        first = self.convolutions["conv1"]
        assert isinstance(first, nn.Sequential)
        first[0] = nn.Conv2d(in_chans, 64, 11, 2)
        side = tile_px - 8  # conv1 leaves (side - 3) // 2 + 1 = (tile_px - 11) // 2 + 1
        for _ in range(4):
            side = (side - 3) // 2 + 1
        self.num_features = self.DIM
        self.fc = nn.Sequential(nn.Linear(256 * side * side, self.DIM, bias=False), nn.BatchNorm1d(self.DIM),
                                nn.ReLU(inplace=True), nn.Dropout(0.5))


def classifier(widths: Sequence[int], *, norms: Sequence[HeadNorm], dropout: float = 0.0) -> nn.Sequential:
    """(N, widths[0]) to logits (N, widths[-1]): for each width between linear, a batch norm ("plain": without gain and shift),
    ReLU, dropout; a linear layer at the end. norms: one for each width between."""
    layers: list[nn.Module] = []
    for (before, width), norm in zip(pairwise(widths[:-1]), norms, strict=True):
        layers.append(nn.Linear(before, width, bias=norm != "affine"))
        layers += [nn.BatchNorm1d(width, affine=norm == "affine")] if norm != "none" else []
        layers += [nn.ReLU(inplace=True), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def _starts(length: int, side: int) -> list[int]:
    count = math.ceil(length / side)
    return [round(number * (length - side) / max(count - 1, 1)) for number in range(count)]
