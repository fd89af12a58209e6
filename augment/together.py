"""Several recipes as one: the views of each, made of one decoded image, with the draws that each has by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .presets import recipe as preset
from .recipe import Recipe

__all__ = ["together"]


def together(recipes: Mapping[str, Recipe | str], name: str = "") -> Recipe:
    """One recipe with the views of all. recipes: by the name of each arm, a Recipe or a preset's name; at least one.

    The arm "a" has the groups "a:global", ..., and views "a:global/0", ...: what is drawn for them, and their pixels, are
    what the recipe by itself has, to the bit; only with decode="scaled" an image is scaled no further than all arms allow, so
    that one of them may get it larger than by itself. Where views of one place in several arms begin with the same ops, with
    the same fields and names, that part is made once, by the first one's parameters. name: of the whole; default:
    "a:dino + b:mae" of its parts.
    Raises ValueError for other names of arms than those without '/', ':' or '*', for an arm that has arms itself, and where
    recipes differ in block or decode, which are of the whole image.
    """
    if not isinstance(recipes, Mapping) or not recipes:
        raise ValueError(f"together needs at least one recipe by name, like {{'a': vm.recipe('dino')}}, got {recipes!r}")
    arms = {arm: preset(given) if isinstance(given, str) else given for arm, given in recipes.items()}
    for arm, recipe in arms.items():
        if not isinstance(arm, str) or not arm or set(arm) & set("/:*"):
            raise ValueError(f"an arm's name needs letters, and no '/', ':' or '*', got {arm!r}")
        if not isinstance(recipe, Recipe):
            raise ValueError(f"arm {arm!r} needs a Recipe or a preset's name, got {type(recipe).__name__}")
        if any(view.arm for view in recipe.views):
            raise ValueError(f"arm {arm!r} needs a recipe by itself, got {recipe}, which is several together already")
    (first, model), *others = arms.items()
    for arm, recipe in others:
        for field in ("block", "decode"):
            if (ours := getattr(model, field)) != (theirs := getattr(recipe, field)):
                raise ValueError(f"arms need one {field}, which is the whole image's: {first!r} has {ours!r}, {arm!r} has "
                                 f"{theirs!r}; dataclasses.replace one of the recipes")
    alike = len({recipe.repeats for recipe in arms.values()}) == 1
    views = tuple(replace(view, arm=arm, repeat=repeat) for arm, recipe in arms.items()
                  for repeat in range(1 if alike else recipe.repeats) for view in recipe.views)
    return Recipe(views, name or " + ".join(f"{arm}:{recipe}" for arm, recipe in arms.items()), model.block, model.decode,
                  model.repeats if alike else 1)
