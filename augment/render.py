"""Images and parameters -> views, in plain torch, on any device: the specification that the engines are tested against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .op import Op
from .ops import LabSplit, Normalize
from .ops.batched import one_by_one, where
from .recipe import Instance, Recipe, UnsupportedRecipe
from .scaled_decode import drawn_denominators, in_scaled_pixels, reduced_levels

Model = Callable[[Any, Mapping[str, Any]], Any]
"""What stands in for an op that needs one: levels and the op's parameters in, levels out."""


def render(images: Sequence[Any] | Tensor, recipe: Recipe, params: Mapping[str, Any], device: torch.device | str | None = None, *,
           partners: Sequence[Any] | Tensor | None = None, models: Mapping[str, Model] | None = None,
           scaled: bool = False) -> dict[str, Tensor]:
    """Each group's views, (V, N, C, H, W) float32. No chance in here: all of it is in params.

    images: N of (H, W, 3) or (3, H, W) arrays or tensors of any sizes, or one (N, 3, H, W) or (N, H, W, 3) tensor; uint8, or
    floats in [0, 1], to which gradients flow: roundings pass them straight through. params: as drawn, or `as_tensors` of them,
    as torch.compile(fullgraph=True) wants beside one tensor of images. device: where to work; default: where the images are.
    partners: the second images, where the recipe takes them; models: by the type of each op that needs one, see `Op.needs`.
    scaled: of a recipe with decode="scaled", whether the images are scaled already, by params[""]["decode"]["denominator"]; else
    they are whole, and reduced here.
    Raises ValueError on other images, UnsupportedRecipe for a missing partner or model.
    """
    levels = _levels_of(images, device)
    others = None if partners is None else _levels_of(partners, device)
    alike = _alike(recipe)
    if recipe.decode == "scaled":
        levels = levels if scaled else _reduced(levels, recipe, params)
        params = in_scaled_pixels(recipe, params)
    groups: dict[str, list[Tensor]] = {}
    run, begun = 0, levels
    for instance, (number, common) in zip(recipe.instances, alike, strict=True):
        drawn, ops = params[instance.name], instance.ops
        images = _sources(levels, instance, drawn, others)
        if number and images is levels:
            if number != run:
                run, begun = number, _applied(images, ops[:common], drawn, models)
            images, ops = begun, ops[common:]
        groups.setdefault(instance.group, []).append(_finished(_applied(images, ops, drawn, models), instance.ops))
    return {group: torch.stack(views) for group, views in groups.items()}


@torch.compiler.assume_constant_result
def _alike(recipe: Recipe) -> Sequence[tuple[int, int]]:
    """`Recipe.alike`, worked out before tracing, which cannot enter a cached property; with it the recipe's instances."""
    return recipe.alike


def _reduced(levels: Any, recipe: Recipe, params: Mapping[str, Any]) -> Any:
    """Whole images by means of blocks; one tensor of them stays one where all become alike."""
    if torch.compiler.is_compiling():
        raise UnsupportedRecipe(f"recipe {recipe}: a traced graph cannot scale images, whose sizes it has to know; "
                                "give it scaled ones with scaled=True, or use decode='full'")
    found = drawn_denominators(recipe, params)
    by = [] if found is None else torch.as_tensor(found).tolist()
    if isinstance(levels, Tensor) and len(set(by)) <= 1:
        return reduced_levels(levels, by[0]) if by else levels
    return [reduced_levels(image, d) for image, d in zip(levels, by, strict=True)] if by else levels


def render_view(levels: Any, instance: Instance, params: Mapping[str, Any], *, partners: Any = None,
                models: Mapping[str, Model] | None = None) -> Tensor:
    """One view of N images, (N, C, H, W). levels, partners: (3, H, W) float32 of 0..255 each, or one (N, 3, H, W)."""
    return apply_ops(_sources(levels, instance, params, partners), instance.ops, params, models)


def apply_ops(images: Any, ops: Sequence[Op], params: Mapping[str, Any], models: Mapping[str, Model] | None = None) -> Tensor:
    """Levels of N images through the ops, in their order; onto the unit scale at the end where none normalizes."""
    return _finished(_applied(images, ops, params, models), ops)


def _applied(images: Any, ops: Sequence[Op], params: Mapping[str, Any], models: Mapping[str, Model] | None) -> Any:
    """Images through the ops, what comes in left as it is."""
    ours = False  # whether images is a buffer that nobody else holds, which may be overwritten
    for op in ops:
        before, given = images, {} if isinstance(op, Normalize) else params[op.name]
        if op.needs:
            stand_in = (models or {}).get(op.type)
            if stand_in is None:
                raise UnsupportedRecipe(f"{op.type} needs {op.needs}: give render models={{{op.type!r}: ...}}")
            images = stand_in(images, given)
        elif ours and hasattr(op, "apply_") and one_by_one(images, *given.values()):
            images = op.apply_(images, given)
        elif ours and isinstance(op, Normalize) and op.pixelwise and one_by_one(images):
            gain, offset = (images.new_tensor(v).reshape(-1, 1, 1) for v in op.affine(images.shape[1]))
            torch.addcmul(offset, images, gain, out=images)
        else:
            images = _one_by_one(op, images, given) if _keeps_sizes(op, images) else op.apply(images, given)
            ours = isinstance(images, Tensor) and (ours or _apart(images, before)) and images.is_contiguous()
    return images


def _finished(images: Any, ops: Sequence[Op]) -> Tensor:
    """One tensor, on the unit scale where the ops have left levels: Lab values are none."""
    normalized = any(isinstance(op, Normalize | LabSplit) for op in ops)
    stacked: Tensor = images if isinstance(images, Tensor) else torch.stack(images)
    return stacked if normalized else stacked / 255


def _keeps_sizes(op: Op, images: Any) -> bool:
    """Whether an op that leaves every size as it is meets images of different sizes: colour before the crop, as BEiT has it."""
    return isinstance(images, list) and op.output(_UNLIKELY_HW, 3)[0] == _UNLIKELY_HW


_UNLIKELY_HW = (9973, 10007)
"""Sides that no view has, and from which every op leaves something."""


def _one_by_one(op: Op, images: list[Tensor], params: Mapping[str, Any]) -> list[Tensor]:
    return [op.apply(image[None], {key: values[row:row + 1] for key, values in params.items()})[0]
            for row, image in enumerate(images)]


def _apart(images: Tensor, before: Any) -> bool:
    """Whether an eager op's result lies in memory of its own."""
    if torch.compiler.is_compiling():
        return False
    return all(images.untyped_storage().data_ptr() != each.untyped_storage().data_ptr()
               for each in (before if isinstance(before, list) else [before]))


def as_tensors(params: Mapping[str, Any], device: torch.device | str | None = None) -> dict[str, Any]:
    """The parameters as tensors of the same types, in dicts nested as before: what a compiled graph takes as an input.

    device: where the images are; default: the CPU. They are copies: a gradient step on them leaves the drawn ones alone.
    """
    return {key: as_tensors(value, device) if isinstance(value, Mapping) else torch.tensor(value, device=device)
            for key, value in params.items()}


@cache
def compiled_ops(ops: tuple[Op, ...]) -> Callable[[Tensor, Mapping[str, Any]], Tensor]:
    """`apply_ops` for these ops as one graph: images (N, C, H, W) levels and parameters by op name, as tensors, in; the view out.

    Compiled at the first call, and again where the shape changes; one callable per ops. Not for ops that need a model.
    """
    def run(images: Tensor, params: Mapping[str, Any]) -> Tensor:
        return apply_ops(images, ops, params)

    run.__code__ = run.__code__.replace()  # some versions of torch limit the graphs of a code object: each has its own
    compiled: Callable[[Tensor, Mapping[str, Any]], Tensor] = torch.compile(run, fullgraph=True)
    return compiled


def _sources(levels: Any, instance: Instance, params: Mapping[str, Any], partners: Any) -> Any:
    """Where each sample's view comes from: its own image, or its partner."""
    occluding = [op for op in instance.ops if op.takes_partner]
    if instance.view.image != "partner" and not occluding:
        return levels
    if partners is None:
        raise UnsupportedRecipe(f"view {instance.name} takes pixels of a second image: give render partners=...")
    if instance.view.image == "partner":
        return partners
    taken = params[occluding[0].name]["partner"]
    if isinstance(levels, Tensor) and isinstance(partners, Tensor) and levels.shape == partners.shape:
        return where(taken, partners, levels)
    other = torch.as_tensor(taken).tolist()
    return [partners[i] if other[i] else levels[i] for i in range(len(levels))]


def _levels_of(images: Sequence[Any] | Tensor, device: torch.device | str | None) -> Any:
    if isinstance(images, Tensor) and images.ndim == 4:
        return _levels(images, device)
    return [_levels(image, device) for image in images]


def _levels(image: Any, device: torch.device | str | None) -> Tensor:
    """(..., 3, H, W) float32 of images, channels first or last."""
    if isinstance(image, np.ndarray) and not image.flags.writeable:
        image = image.copy()  # torch has no read-only tensors, and says so at length
    tensor = torch.as_tensor(image, device=device)
    unit = tensor.dtype.is_floating_point
    if not (unit or tensor.dtype == torch.uint8) or tensor.ndim not in (3, 4) or 3 not in (tensor.shape[-3], tensor.shape[-1]):
        raise ValueError("an image is (H, W, 3) or (3, H, W) of uint8, or of floats in [0, 1], "
                         f"got {tensor.dtype} {tuple(tensor.shape)}")
    channels_first = tensor if tensor.shape[-1] != 3 else tensor.movedim(-1, -3)
    levels = channels_first.to(torch.float32)
    return levels * 255 if unit else levels
