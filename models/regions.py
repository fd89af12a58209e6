"""What a backbone says of the regions of an image, before it is pooled."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from .vit import is_plain_vit, one_line, tokens


def regions_of(module: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features of each image's T regions, (N, T, D), row by row, and of the whole image, (N, D), which are `features_of`.

    Regions are a vision transformer's patches after its last norm, without class token and registers, and otherwise the places
    of the network's last map. images (N, C, H, W). Raises ValueError, one line, where the network takes no such images, or has
    no regions as wide as its features.
    """
    network: Any = module
    with one_line(module, images):
        if is_plain_vit(module):
            x = tokens(network, images)
            return x[:, network.num_prefix_tokens :], network.forward_head(x)
        if not hasattr(module, "forward_features") or not hasattr(module, "forward_head"):
            raise ValueError(f"backbone {type(module).__name__} {_NONE}")
        found: Tensor = network.forward_features(images)
        pooled: Tensor = network.forward_head(found)
    if found.ndim == 4:
        found = found.flatten(1, 2) if getattr(module, "output_fmt", "NCHW") == "NHWC" else found.flatten(2).transpose(1, 2)
    elif found.ndim == 3:
        found = found[:, getattr(module, "num_prefix_tokens", 0) :]
    if found.ndim != 3 or found.shape[2] != pooled.shape[1]:
        raise ValueError(f"backbone {type(module).__name__} {_NONE}: {tuple(found.shape[1:])} beside {pooled.shape[1]}")
    return found, pooled


_NONE = "has no regions with features as wide as an image's; use for example a ViT or a Swin, a ResNet, or convnet4"


def map_of(module: nn.Module, images: Tensor) -> Tensor:
    """The regions of square images in their places: (N, D, rows, rows), D as wide as the network's features. images (N, C, H, H).
    Raises ValueError as `regions_of` does, and where the regions make no square."""
    regions, _ = regions_of(module, images)
    rows = math.isqrt(regions.shape[1])
    if rows * rows != regions.shape[1]:
        raise ValueError(f"backbone {type(module).__name__} has {regions.shape[1]} regions, which make no square")
    return regions.transpose(1, 2).unflatten(2, (rows, rows))
