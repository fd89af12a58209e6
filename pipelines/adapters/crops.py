"""Scripts that take a list of crops: DINO's `for it, (images, _) in ...`, MoCo's, Barlow Twins'; and with targets=False SwAV's
and DeepCluster-v2's `for it, inputs in ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .stream import Batches, views_of
from .torch import form

if TYPE_CHECKING:
    from ..loader import Loader


def adapted(loader: Loader, targets: bool = True) -> Batches:
    """Crops of the largest size first, as those scripts' networks slice them. Raises ValueError where the recipe's are not."""
    sides = [shape.height * shape.width for shape in loader.recipe.groups.values()]
    if sides != sorted(sides, reverse=True):
        raise ValueError(f"adapt(to='crops'): such scripts expect the large crops first, and recipe {loader.recipe} has "
                         f"{', '.join(loader.recipe.groups)} in this order: list its larger views first")
    return Batches(loader, form if targets else views_of)
