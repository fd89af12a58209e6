"""Images and parameters -> views, in plain torch, on any device: the specification that the engines are tested against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .draw import Params
from .ops import Normalize
from .recipe import Instance, Recipe, UnsupportedRecipe


def render(images: Sequence[Any] | Tensor, recipe: Recipe, params: Params,
           device: torch.device | str | None = None) -> dict[str, Tensor]:
    """Each group's views, (V, N, C, H, W) float32. No chance in here: all of it is in params.

    images: N of (H, W, 3) uint8 arrays or tensors of any sizes, or one (N, 3, H, W) or (N, H, W, 3) uint8 tensor.
    device: where to work; default: where the images are. Raises ValueError on other images.
    """
    levels = [_levels(image, device) for image in images]
    groups: dict[str, list[Tensor]] = {}
    for instance in recipe.instances:
        groups.setdefault(instance.group, []).append(render_view(levels, instance, params[instance.name]))
    return {group: torch.stack(views) for group, views in groups.items()}


def render_view(levels: list[Tensor], instance: Instance, params: dict[str, Any]) -> Tensor:
    """One view of N images, (N, C, H, W). levels: (3, H, W) float32 of 0..255."""
    if instance.view.image == "partner":
        raise UnsupportedRecipe(f"view {instance.name} is made of a partner image, which no engine of this version renders")
    images: Any = levels
    normalized = False
    for op in instance.ops:
        images = op.apply(images, params[op.name])
        normalized |= isinstance(op, Normalize)
    stacked: Tensor = images if isinstance(images, Tensor) else torch.stack(images)
    return stacked if normalized else stacked / 255


def _levels(image: Any, device: torch.device | str | None) -> Tensor:
    """(3, H, W) float32 of one uint8 image, channels first or last."""
    if isinstance(image, np.ndarray) and not image.flags.writeable:
        image = image.copy()  # torch has no read-only tensors, and says so at length
    tensor = torch.as_tensor(image, device=device)
    if tensor.dtype != torch.uint8 or tensor.ndim != 3 or 3 not in (tensor.shape[0], tensor.shape[-1]):
        raise ValueError(f"an image is uint8 (H, W, 3) or (3, H, W), got {tensor.dtype} {tuple(tensor.shape)}")
    channels_first = tensor if tensor.shape[-1] != 3 else tensor.permute(2, 0, 1)
    return channels_first.to(torch.float32)
