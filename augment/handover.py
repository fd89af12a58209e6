"""Views that a method finishes: engines render up to the first op that it wants for itself, and it applies the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .op import Op, UnsupportedRecipe
from .ops import LabSplit, Normalize
from .recipe import Instance, Recipe, View

if TYPE_CHECKING:
    from torch import Tensor

    from .render import Model


@dataclass(frozen=True)
class Handover:
    """A recipe, and the types of those ops that the method renders by itself, such as "inpaint", which needs its network, or
    "masks", whose hole it wants to see filled.

    What comes of a view before the first of them is handed over, on the unit scale, not normalized. Its group's other views are
    handed over with the same size, as far on as they have it. All parameters are drawn as ever, those of the rest too.
    """

    recipe: Recipe
    types: tuple[str, ...] = ()

    @cached_property
    def rendered(self) -> Recipe:
        """What engines render: the recipe itself where it has no such op. Raises UnsupportedRecipe where views of a group would
        be handed over in different sizes, in none, or after their normalization."""
        stops = [self._stop(instance) for instance in self.recipe.instances]
        sizes: dict[str, tuple[int, int]] = {}
        for instance, stop in zip(self.recipe.instances, stops, strict=True):
            if stop < len(instance.ops):
                size, where = _size(instance, stop), f"recipe {self.recipe}, view {instance.name}: {instance.ops[stop].name}"
                if size is None or sizes.setdefault(instance.group, size) != size:
                    raise UnsupportedRecipe(f"{where} comes at {size or 'the size of the image'}, and a group's views are handed "
                                            f"over in one size, here {sizes.get(instance.group, 'none')}; crop before it")
                if stop > _levels(instance):
                    raise UnsupportedRecipe(f"{where} comes after the normalization; put it before")
        if not sizes:
            return self.recipe
        cut = {id(instance.view): self._cut(instance, stop, sizes)
               for instance, stop in zip(self.recipe.instances, stops, strict=True) if instance.group in sizes}
        return replace(self.recipe, views=tuple(cut.get(id(view), view) for view in self.recipe.views))

    def rest(self, group: str) -> list[tuple[Instance, tuple[Op, ...]]]:
        """Of each view of a group, in order: the ops that are left to the method, none where an engine renders it whole."""
        done = {each.name: len(each.ops) for each in self.rendered.instances}
        own = sorted((each for each in self.recipe.instances if each.group == group), key=lambda each: each.ordinal)
        return [(each, each.ops[done[each.name] :]) for each in own]

    def finish(self, group: str, views: Tensor, params: Mapping[str, Any], models: Mapping[str, Model] | None = None) -> Tensor:
        """A group's views (V, B, C, h, w) as handed over to what its recipe says, (V, B, C, H, W), differentiably.

        params: as drawn. models: by type of op what stands in for it, levels 0..255 and its parameters in, levels out; it may
        stand in for any. Raises UnsupportedRecipe where an op needs a model and has none.
        """
        import torch

        if self.rendered is self.recipe:
            return views
        done = [_applied(ops, images, params[instance.name], models or {}) if ops else images
                for (instance, ops), images in zip(self.rest(group), views, strict=True)]
        return torch.stack(done)

    def labels(self, group: str) -> tuple[int, ...]:
        """Of each view of a group, the label that the recipe states; none where one view has none."""
        own = [instance for instance, _ in self.rest(group)]
        if not all(each.view.labels for each in own):
            return ()
        return tuple(each.view.labels[each.copy - each.view.first_copy] for each in own)

    def _stop(self, instance: Instance) -> int:
        return next((at for at, op in enumerate(instance.ops) if op.type in self.types), len(instance.ops))

    def _cut(self, instance: Instance, stop: int, sizes: Mapping[str, tuple[int, int]]) -> View:
        """What an engine renders of an instance's view."""
        size = sizes[instance.group]
        if stop == len(instance.ops):
            stop = next((n for n in range(_levels(instance), -1, -1) if _size(instance, n) == size), -1)
            if stop < 0:
                raise UnsupportedRecipe(f"recipe {self.recipe}, view {instance.name} never has the size {size} in which its "
                                        "group is handed over")
        return replace(instance.view, ops=instance.ops[:stop], size_px=size)


def _applied(ops: tuple[Op, ...], images: Tensor, drawn: Mapping[str, Any], models: Mapping[str, Model]) -> Tensor:
    import torch

    levels: Any = images.float() * 255
    for op in ops:
        given = {} if isinstance(op, Normalize) else drawn[op.name]
        if op.type in models:
            levels = models[op.type](levels, given)
        elif op.needs:
            raise UnsupportedRecipe(f"{op.type} needs {op.needs}: give finished models={{{op.type!r}: ...}}")
        elif "apply" in given:  # half a batch's rotation costs half
            rows = torch.as_tensor(given["apply"]).nonzero()[:, 0]
            some = {name: values[rows.numpy()] for name, values in given.items()}
            rows = rows.to(levels.device, non_blocking=True)
            levels = levels.index_copy(0, rows, op.apply(levels[rows], some))
        else:
            levels = op.apply(levels, given)
    finished: Tensor = levels if any(isinstance(op, Normalize | LabSplit) for op in ops) else levels / 255
    return finished


def _size(instance: Instance, count: int) -> tuple[int, int] | None:
    """Height and width after so many of a view's ops; None: the image's own, or no one size."""
    size: tuple[int, int] | None = None
    channels = 3
    for op in instance.ops[:count]:
        size, channels = op.output(size, channels)
    return size


def _levels(instance: Instance) -> int:
    """How many of a view's ops come before its values are anything but levels."""
    return next((at for at, op in enumerate(instance.ops) if isinstance(op, Normalize | LabSplit)), len(instance.ops))
