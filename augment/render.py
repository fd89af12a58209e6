"""Images and parameters -> views, in plain torch, on any device: the specification that the engines are tested against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .draw import Params
from .op import Op
from .ops import LabSplit, Normalize
from .recipe import Instance, Recipe, UnsupportedRecipe

Model = Callable[[Any, Mapping[str, Any]], Any]
"""What stands in for an op that needs one: levels and the op's parameters in, levels out."""


def render(images: Sequence[Any] | Tensor, recipe: Recipe, params: Params, device: torch.device | str | None = None, *,
           partners: Sequence[Any] | Tensor | None = None, models: Mapping[str, Model] | None = None) -> dict[str, Tensor]:
    """Each group's views, (V, N, C, H, W) float32. No chance in here: all of it is in params.

    images: N of (H, W, 3) uint8 arrays or tensors of any sizes, or one (N, 3, H, W) or (N, H, W, 3) uint8 tensor.
    device: where to work; default: where the images are. partners: the second images, where the recipe takes them; models:
    by the type of each op that needs one, see `Op.needs`. Raises ValueError on other images, UnsupportedRecipe for a missing
    partner or model.
    """
    levels = _levels_of(images, device)
    others = None if partners is None else _levels_of(partners, device)
    groups: dict[str, list[Tensor]] = {}
    for instance in recipe.instances:
        view = render_view(levels, instance, params[instance.name], partners=others, models=models)
        groups.setdefault(instance.group, []).append(view)
    return {group: torch.stack(views) for group, views in groups.items()}


def render_view(levels: Any, instance: Instance, params: Mapping[str, Any], *, partners: Any = None,
                models: Mapping[str, Model] | None = None) -> Tensor:
    """One view of N images, (N, C, H, W). levels, partners: (3, H, W) float32 of 0..255 each, or one (N, 3, H, W)."""
    return apply_ops(_sources(levels, instance, params, partners), instance.ops, params, models)


def apply_ops(images: Any, ops: Sequence[Op], params: Mapping[str, Any], models: Mapping[str, Model] | None = None) -> Tensor:
    """Levels of N images through the ops, in their order; onto the unit scale at the end where none normalizes."""
    normalized = False
    for op in ops:
        if op.needs:
            if op.type not in (models or {}):
                raise UnsupportedRecipe(f"{op.type} needs {op.needs}: give render models={{{op.type!r}: ...}}")
            images = models[op.type](images, params[op.name])  # type: ignore[index]
        else:
            images = op.apply(images, params[op.name])
        normalized |= isinstance(op, Normalize | LabSplit)  # Lab values are no levels
    stacked: Tensor = images if isinstance(images, Tensor) else torch.stack(images)
    return stacked if normalized else stacked / 255


def _sources(levels: Any, instance: Instance, params: Mapping[str, Any], partners: Any) -> Any:
    """Where each sample's view comes from: its own image, or its partner."""
    occluding = [op for op in instance.ops if op.takes_partner]
    if instance.view.image != "partner" and not occluding:
        return levels
    if partners is None:
        raise UnsupportedRecipe(f"view {instance.name} takes pixels of a second image: give render partners=...")
    if instance.view.image == "partner":
        return partners
    other = torch.as_tensor(params[occluding[0].name]["partner"]).tolist()
    return [partners[i] if other[i] else levels[i] for i in range(len(levels))]


def _levels_of(images: Sequence[Any] | Tensor, device: torch.device | str | None) -> Any:
    if isinstance(images, Tensor) and images.ndim == 4:
        return _levels(images, device)
    return [_levels(image, device) for image in images]


def _levels(image: Any, device: torch.device | str | None) -> Tensor:
    """(..., 3, H, W) float32 of uint8 images, channels first or last."""
    if isinstance(image, np.ndarray) and not image.flags.writeable:
        image = image.copy()  # torch has no read-only tensors, and says so at length
    tensor = torch.as_tensor(image, device=device)
    if tensor.dtype != torch.uint8 or tensor.ndim not in (3, 4) or 3 not in (tensor.shape[-3], tensor.shape[-1]):
        raise ValueError(f"an image is uint8 (H, W, 3) or (3, H, W), got {tensor.dtype} {tuple(tensor.shape)}")
    channels_first = tensor if tensor.shape[-1] != 3 else tensor.movedim(-1, -3)
    return channels_first.to(torch.float32)
