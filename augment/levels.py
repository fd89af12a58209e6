"""Views as bytes: levels before the last normalization, which is then done where the batch has arrived."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .masks import CenterHole, MissingTile, NoiseField
from .op import Op, UnsupportedRecipe, nearest
from .ops import ColourDrop, Cutout, Erase, Normalize
from .recipe import Instance, Recipe

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["as_levels", "gains", "normalize", "to_bytes"]

PLAIN = Normalize(kind="none")
"""What a view without a normalization ends with: levels onto the unit scale."""
IDENTITY = Normalize(kind="affine", gain=255.0, offset=0.0)
"""Levels, to the last bit, as they are."""


def gains(recipe: Recipe) -> dict[str, tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]]:
    """Of each group's views (V) and their channels (3): gain and offset of the level, as the last normalization has them.

    Raises UnsupportedRecipe, naming the op, where bytes of red, green and blue are not all that a view is.
    """
    found: dict[str, tuple[list[tuple[float, ...]], list[tuple[float, ...]]]] = {}
    for instance in recipe.instances:
        gain, offset = _last(recipe, instance).affine()
        each = found.setdefault(instance.group, ([], []))
        each[0].append(gain)
        each[1].append(offset)
    return {group: (tuple(found[group][0]), tuple(found[group][1])) for group in recipe.groups}


def as_levels(recipe: Recipe) -> Recipe:
    """The same views without their last normalization: their values are levels. Errors as `gains`."""
    gains(recipe)

    def changed(ops: tuple[Op, ...]) -> tuple[Op, ...]:
        at = next((i for i, op in enumerate(ops) if isinstance(op, Normalize)), len(ops))
        return (*ops[:at], replace(IDENTITY, name=ops[at].name if at < len(ops) else "normalize"), *ops[at + 1:])

    return replace(recipe, views=tuple(replace(view, ops=changed(view.ops or ())) for view in recipe.views))


def to_bytes(levels: Tensor) -> Tensor:
    """uint8, rounded half up, within 0..255."""
    import torch

    return (levels.clamp(0, 255) + 0.5).to(torch.uint8)


def normalize(views: Mapping[str, Tensor], recipe: Recipe, dtype: torch.dtype | str = "float32") -> dict[str, Tensor]:
    """What the recipe's views were before they were rounded to bytes, within half a level: {group: uint8 (V, N, C, H, W)} of
    any device and memory format -> the same of dtype, normalized in float32.

    Raises ValueError for groups that the recipe does not have and for tensors of another type or shape.
    """
    import torch

    kind = getattr(torch, str(dtype).removeprefix("torch."), None)
    if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
        raise ValueError(f"normalize needs a dtype of floats, like torch.float32, got {dtype!r}")
    known, shapes = gains(recipe), recipe.groups
    made = {}
    for group, levels in views.items():
        if group not in known:
            raise ValueError(f"recipe {recipe} has no group {group!r}; {nearest(group, list(known))}")
        shape = shapes[group]
        whole = (shape.count, shape.channels, shape.height, shape.width)
        if levels.dtype != torch.uint8 or levels.ndim != 5 or (len(levels), *levels.shape[2:]) != whole:
            count, *rest = whole
            raise ValueError(f"normalize needs group {group!r} as uint8 ({count}, N, {', '.join(map(str, rest))}), "
                             f"got {str(levels.dtype).removeprefix('torch.')} {tuple(levels.shape)}")
        gain, offset = (_by_channel(values, levels.device) for values in known[group])
        made[group] = levels.to(torch.float32).mul_(gain).add_(offset).to(kind)
    return made


def _by_channel(values: Iterable[Iterable[float]], device: Any) -> Tensor:
    import torch

    return torch.tensor(values, dtype=torch.float32, device=device)[:, None, :, None, None]


def _last(recipe: Recipe, instance: Instance) -> Normalize:
    """The normalization that a view ends with, if levels of red, green and blue come before it."""
    *before, last = instance.ops or (PLAIN,)
    if not isinstance(last, Normalize):
        before, last = [*before, last], PLAIN
    for op in (*before, last):
        if reason := _beyond(op, last):
            raise UnsupportedRecipe(f"recipe {recipe}, view {instance.name}: uint8 holds levels of red, green and blue, 0 to "
                                    f"255, but {op.name} {reason}; use dtype='float32'")
    return last


def _beyond(op: Op, last: Normalize) -> str:
    """Why bytes cannot hold what an op leaves, or why it cannot wait; empty where they can."""
    match op:
        case Normalize() if op is not last:
            return "is not the last op"
        case Normalize() if not op.pixelwise:
            return f"of kind {op.kind!r} and space {op.space or 'unit'!r} is no gain and offset of a level"
        case ColourDrop(subtract_mean=True):
            return "takes off the mean"
        case ColourDrop(fill="uniform-noise") if op.fill_range is not None and op.value_scale is not None:
            return _outside([255 / op.value_scale * v for v in op.fill_range])
        case Cutout() | Erase() if op.fill is not None and getattr(op, "value", "") != "noise":
            return _outside(op.fill)
        case CenterHole() | MissingTile() | NoiseField() if op.fill is not None:
            return _outside([v * (1 if op.fill_scale == "uint8" else 255) for v in op.fill])
        case _:
            return {"lab_split": "leaves Lab values", "sobel": "leaves gradients"}.get(op.type, "")


def _outside(levels: Iterable[float]) -> str:
    far = next((v for v in levels if not 0 <= v <= 255), None)
    return "" if far is None else f"fills with {far:g}"
