"""Published recipes by name, one file a paper."""

from __future__ import annotations

from ..op import nearest
from ..recipe import Recipe
from . import barlow, byol, dino, mae, moco, rotnet, simclr, simmim
from .preset import Preset

PRESETS: dict[str, Preset] = {
    preset.recipe.name: preset
    for paper in (simclr, byol, moco, barlow, dino, mae, simmim, rotnet)
    for preset in paper.PRESETS
}

__all__ = ["PRESETS", "Preset", "names", "recipe"]


def names() -> tuple[str, ...]:
    """The names that `recipe` knows."""
    return tuple(PRESETS)


def recipe(name: str) -> Recipe:
    """The published recipe of that name. Raises ValueError for another, naming the nearest."""
    if name not in PRESETS:
        raise ValueError(f"there is no recipe {name!r}; {nearest(name, list(PRESETS))}")
    return PRESETS[name].recipe
