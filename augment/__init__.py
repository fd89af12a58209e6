"""What happens to an image: recipes, their random choices, and their meaning in plain torch."""

from __future__ import annotations

from .draw import DRAW_VERSION, Params, draw
from .recipe import GroupShape, Instance, Recipe, UnsupportedRecipe, View

__all__ = ["DRAW_VERSION", "GroupShape", "Instance", "Params", "Recipe", "UnsupportedRecipe", "View", "draw"]
