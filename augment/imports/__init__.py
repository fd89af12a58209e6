"""Recipes from what other libraries call a transform, op by op; what has no equal here is named and refused.

Nothing is drawn or rendered with the other library, nor imported from it: an object is told by its class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..op import Op
from ..recipe import Recipe
from .torchvision import Equals, library_of, ops_of
from .views import recipe_of

__all__ = ["import_recipe"]


def import_recipe(transform: Any, *, name: str = "imported", count: int = 1,
                  equals: Mapping[type, Callable[[Any], Op]] | None = None, dataset: str = "imagenet") -> Recipe:
    """The recipe that makes the views of

    - a transform of torchvision, v1 or v2: one view, `count` times; or a list of them, one for each view;
    - lightly's SimCLRTransform, DINOTransform, or any other MultiViewTransform of views that have equals;
    - solo-learn's augmentations: a YAML file, or the list in it. dataset: whose mean and deviation it normalizes by, cifar10,
      cifar100, stl10 or imagenet.

    equals: for other classes, what one of their objects is here: {MyBlur: lambda blur: Blur(p=blur.p, sigma_px=(0.1, 2.0))}.
    What ops mean is what they mean on Pillow images. Views of the size of the first are group "global", of the next smaller
    size "local", others "view96" by their side.

    Raises UnsupportedRecipe, naming the op, where one has no equal, or none at its place; ValueError for what is no transform.
    """
    solo = isinstance(transform, str | Path | Mapping) or _is_list_of_mappings(transform)
    if solo:
        from .solo_learn import views_of

        return recipe_of(views_of(transform, dataset), name)
    known = Equals(dict(equals or {}))
    if library_of(transform) == "lightly" and hasattr(transform, "transforms"):
        transform = list(transform.transforms)
    elif not isinstance(transform, list | tuple):
        return recipe_of([ops_of(transform, known)] * _copies(count), name)
    if not transform:
        raise ValueError("import_recipe needs a transform, or a list of them, got an empty list")
    return recipe_of([ops_of(each, known) for each in transform for _ in range(_copies(count))], name)


def _copies(count: int) -> int:
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"import_recipe: count needs a whole number >= 1, got {count!r}")
    return count


def _is_list_of_mappings(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(each, Mapping) for each in value)
