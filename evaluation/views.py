"""The views that a protocol trains on: a recipe of one view, at the encoder's size and ending as the encoder's pictures end."""

from __future__ import annotations

from dataclasses import replace

from ..augment.op import Op
from ..augment.ops import LabSplit, Normalize, Resize, Sobel
from ..augment.presets import recipe as named_recipe
from ..augment.recipe import Recipe
from ..models.training.overrides import with_assignment
from ..pipelines.loader import Loader
from .encoder import Encoder
from .pictures import Pictures
from .task import Task


def training_recipe(name: str, encoder: Encoder) -> Recipe:
    """A preset with its view at encoder.image_px, and, for its own, the colour space, gradients and normalisation that the
    encoder was trained with. Raises ValueError for an unknown recipe, or one of several views."""
    recipe = named_recipe(name)
    if len(recipe.instances) != 1:
        raise ValueError(f"recipe={name} makes {len(recipe.instances)} views of a picture, a classifier trains on one; for "
                         "example recipe=probe")
    group, (old, _) = recipe.views[0].group, recipe.instances[0].size_hw
    if old != encoder.image_px:
        recipe = with_assignment(recipe, f"{group}.size_px", str(encoder.image_px))
    view = recipe.views[0]
    begin = [_scaled(op, encoder.image_px / old) for op in view.ops or () if not _is_ending(op)]
    end = [op for op in encoder.view.instances[0].ops if _is_ending(op)]
    return replace(recipe, views=(replace(view, ops=(*begin, *end)),))


def training_loader(task: Task, pictures: Pictures, recipe: str, batch_size: int, sidecar: bool) -> Loader:
    """This rank's part of an endless stream of batches of `training_recipe`; batch_size: over all ranks, which divide it."""
    world = task.world
    return Loader(pictures.subset(), training_recipe(recipe, task.encoder), batch_size // world.size, seed=task.seed, epochs=None,
                  rank=world.rank, world_size=world.size, threads=task.threads, device=task.device, last="drop", sidecar=sidecar)


def _scaled(op: Op, scale: float) -> Op:
    """A picture that is made larger than the window that is cut of it stays as much larger."""
    if isinstance(op, Resize) and op.side_px is not None and scale != 1:
        return op.with_fields(side_px=round(scale * op.side_px))
    return op


def _is_ending(op: Op) -> bool:
    return isinstance(op, Normalize | LabSplit | Sobel)
