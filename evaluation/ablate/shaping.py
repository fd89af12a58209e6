"""Changes of a recipe that no field says: how many views a group has, and an op taken out. What they make is kept as a file,
which `recipe=FILE.json` takes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...augment.op import nearest
from ...augment.presets import recipe as named_recipe
from ...augment.recipe import Recipe
from .study import Changes

NONE = "none"
"""recipe.VIEW.OP=none takes the op out."""

_MARK = "left out"


def with_shape(changes: Changes, begin: Sequence[str], folder: Path, name: str) -> tuple[tuple[str, Any], ...]:
    """The changes, those of a recipe's shape made: a file in `folder` that has them takes the recipe's place. begin: the words
    that go before. name: of the recipe where it becomes another. Raises ValueError, one line, where a change cannot be made."""
    before = [word.removeprefix("recipe=") for word in begin if word.startswith("recipe=")]
    before += [str(value) for key, value in changes if key == "recipe"]
    recipe = named_recipe(before[-1]) if before else None
    shaped, left = recipe, []
    for key, value in changes:
        other = None if shaped is None or not key.startswith("recipe.") else reshaped(shaped, key.removeprefix("recipe."), value)
        if other is None:
            left.append((key, value))
        else:
            shaped = other
    if shaped is None or shaped is recipe:
        return tuple(left)
    shaped.groups  # noqa: B018 (what cannot be is said now)
    return (("recipe", str(kept(replace(shaped, name=name), folder))), *(each for each in left if each[0] != "recipe"))


def kept(recipe: Recipe, folder: Path) -> Path:
    """The recipe as a file of that folder, whose name tells it from others."""
    path = folder / f"{recipe.fingerprint}.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(recipe.to_dict(), indent=1) + "\n")
        os.replace(temporary, path)
    return path


def reshaped(recipe: Recipe, key: str, value: Any) -> Recipe | None:
    """The recipe with another number of a group's views, by "GROUP.count", or without an op, by "VIEW.OP" and the value "none";
    None for any other key. Raises ValueError where there is no such group, or it cannot have so many."""
    view, _, op = key.partition(".")
    if op == "count":
        return _counted(recipe, view, value)
    names = {each.name for one in recipe.views for each in one.ops or ()}
    if value == NONE and op in names:
        marked = recipe.with_op(view, op, name=_MARK)  # which finds the views, and splits one copy off others
        views = tuple(replace(one, ops=tuple(each for each in one.ops or () if each.name != _MARK)) for one in marked.views)
        return replace(recipe, views=views)
    return None


def _counted(recipe: Recipe, group: str, value: Any) -> Recipe:
    groups = sorted({view.stack for view in recipe.views})
    views = [view for view in recipe.views if view.stack == group]
    if not views:
        raise ValueError(f"recipe.{group}.count: recipe {recipe} has no group {group!r}; {nearest(group, groups)}")
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"recipe.{group}.count needs a whole number of at least 0, got {value!r}")
    if value == 0:
        if len(groups) == 1:
            raise ValueError(f"recipe.{group}.count=0 would leave recipe {recipe} without a view")
        return replace(recipe, views=tuple(view for view in recipe.views if view.stack != group))
    (first, *others) = views
    if others or first.roles or first.labels or not isinstance(first.count, int):
        raise ValueError(f"recipe.{group}.count: the views of group {group!r} are not copies of one; of such a group no other "
                         "number can be had")
    return replace(recipe, views=tuple(replace(view, count=value) if view is first else view for view in recipe.views))
