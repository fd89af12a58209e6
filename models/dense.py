"""Features at each place of an image: what a network that paints stands on, where the backbone by itself ends in a pool."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .alexnet import AlexNet
from .regions import regions_of
from .vit import is_plain_vit


def dense(module: nn.Module, images: Tensor) -> Tensor:
    """Square images (N, C, H, H) to features (N, D, h, h), as wide as the backbone's own. Every weight of the backbone has a
    part in them.

    A vision transformer's patches after its last norm, otherwise the last map before it is pooled. AlexNet: fc6 and fc7 as
    convolutions over the whole map, pool5 with stride 1 and fc6 with a dilation of 2, as Colorization has it; in the middle
    that is what the network says of the whole image. Raises ValueError, one line, where a backbone has no such map.
    """
    if isinstance(module, AlexNet):
        return _alexnet(module, images)
    found, _ = regions_of(module, images)
    if is_plain_vit(module):
        network: Any = module
        found = network.fc_norm(found)  # of those that pool first and have their last norm afterwards
    return _square(module, found)


def map_and_features(module: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The backbone's last map (N, C', h, h) and its features (N, D), in one pass; of AlexNet conv5's and fc7's. Raises ValueError
    as `dense`."""
    if isinstance(module, AlexNet):
        conv5 = module.maps(images)["conv5"]
        features: Tensor = module.fc(module.pool(conv5).flatten(1))
        return conv5, features
    found, features = regions_of(module, images)
    return _square(module, found), features


def _square(module: nn.Module, regions: Tensor) -> Tensor:
    side = math.isqrt(regions.shape[1])
    if side * side != regions.shape[1]:
        raise ValueError(f"backbone {type(module).__name__} gives {regions.shape[1]} regions, which are no square; use square "
                         "images")
    return regions.transpose(1, 2).unflatten(2, (side, side))


def _alexnet(module: Any, images: Tensor) -> Tensor:
    x: Tensor = F.max_pool2d(module.maps(images)["conv5"], 3, 1, 1)
    height, width = x.shape[2:]
    fc6, norm6, relu6, fc7, norm7, relu7 = module.fc
    side = math.isqrt(fc6.weight.shape[1] // x.shape[1])
    # Places two apart, those that pool5 keeps; an even reach on both sides, so that the map keeps its size.
    x = F.conv2d(x, fc6.weight.unflatten(1, (-1, side, side)), dilation=2, padding=side - 1)
    x = relu6(norm6(x.flatten(2)))
    x = relu7(norm7(F.conv1d(x, fc7.weight[:, :, None])))
    return x.unflatten(2, (height, width))
