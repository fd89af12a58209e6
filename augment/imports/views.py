"""Views of a recipe from the ops of each, in order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from ..op import Op, UnsupportedRecipe
from ..recipe import Recipe, View


def recipe_of(views: Sequence[tuple[Op, ...]], name: str) -> Recipe:
    """Neighbours that are equal become one view with a count. Raises UnsupportedRecipe for a view without a size of its own."""
    sizes = [_size(ops) for ops in views]
    groups = {size: f"view{size[0]}" if size[0] == size[1] else f"view{size[0]}x{size[1]}" for size in sizes}
    groups[sizes[0]] = "global"
    smaller = sorted((size for size in groups if size[0] * size[1] < sizes[0][0] * sizes[0][1]), reverse=True)
    if smaller:
        groups[smaller[0]] = "local"
    made = []
    for (ops, size), alike in groupby(zip(views, sizes, strict=True)):
        side = size[0] if size[0] == size[1] else size
        made.append(View(group=groups[size], count=len(list(alike)), size_px=side, ops=ops))
    return Recipe(views=tuple(made), name=name)


def _size(ops: tuple[Op, ...]) -> tuple[int, int]:
    size: tuple[int, int] | None = None
    for op in ops:
        size, _ = op.output(size, 3)
    if size is None:
        raise UnsupportedRecipe("import_recipe: the transform leaves images of any size, and views are stacked: end with a crop")
    return size
