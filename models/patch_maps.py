"""What a network says of each place of an image: a vision transformer of its patches, any other by a layer's map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .layers import maps
from .vit import is_plain_vit, one_line, tokens


@torch.no_grad()
def patch_map(module: nn.Module, images: Tensor, layer: str | None = None) -> Tensor:
    """images (N, C, H, W) to (N, rows, columns, D) float32, in whatever mode the network is.

    layer None: of a plain vision transformer the patch tokens after the last norm, of any size once `open_to_sizes`; of another
    network the last of `maps`. Else the map of that name. Raises ValueError, one line, for a layer that is not there, a network
    that shows no maps, and a size that it does not take.
    """
    network: Any = module
    height, width = images.shape[2:]
    with one_line(module, images):
        if is_plain_vit(module):
            rows, columns = (side // patch for side, patch in zip((height, width), network.patch_embed.patch_size, strict=True))
            if layer is None:
                return tokens(network, images)[:, network.num_prefix_tokens :].unflatten(1, (rows, columns)).float()
            if (rows, columns) != tuple(network.patch_embed.grid_size):
                raise ValueError(f"layer={layer} goes with images of the network's own size alone, not with {height} x {width} "
                                 "px; leave the layer or the size out")
        found = maps(module, images)
    if layer is not None and layer not in found:
        raise ValueError(f"layer={layer}: the network has {', '.join(found)}")
    return found[layer or list(found)[-1]].permute(0, 2, 3, 1).float()
