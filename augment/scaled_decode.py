"""Scaled decode: a large image is decoded at 1/2, 1/4 or 1/8 of its size where each of its views shrinks it further anyway.

How far is told by the drawn boxes alone, so it is a parameter like the others: params[""]["decode"]["denominator"], (N,) int64.
Boxes stay in pixels of the whole image; `in_scaled_pixels` divides them for whoever renders from the scaled one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .fields import pair_of
from .op import UnsupportedRecipe
from .ops import Crop, Flip, Resize

if TYPE_CHECKING:
    from torch import Tensor

    from .recipe import Instance, Recipe

DENOMINATORS = (1, 2, 4, 8)
"""What libjpeg-turbo divides sides by at the speed that is the point of it."""

LEAST_SHRINK = 2
"""How many times the sides of every box are still at least those of its view, once the image is scaled."""


def first_resizes(recipe: Recipe) -> list[tuple[Instance, Crop | Resize]]:
    """The op by which each view first leaves the image's size. A flip before it mirrors the scaled image.

    Raises UnsupportedRecipe where that is no antialiased crop or resize, or where the recipe takes a second image.
    """
    if recipe.takes_partner:
        raise UnsupportedRecipe(f"recipe {recipe} takes a second image, which decode='scaled' does not know; use decode='full'")
    found = []
    for instance in recipe.instances:
        op = next((op for op in instance.ops if not isinstance(op, Flip)), None)
        if not isinstance(op, Crop | Resize) or not op.antialias:
            begins = "nothing" if op is None else f"{op.name} without antialias" if isinstance(op, Crop | Resize) else op.name
            raise UnsupportedRecipe(f"recipe {recipe}, view {instance.name}: decode='scaled' needs an antialiased crop or resize "
                                    f"first, and finds {begins}; use decode='full'")
        found.append((instance, op))
    return found


def denominators(recipe: Recipe, params: Mapping[str, Any]) -> np.ndarray:
    """(N,) int64: the largest of DENOMINATORS with box side >= LEAST_SHRINK * denominator * view side, on both axes of the first
    resize of every view; 1 where there is none. Errors as `first_resizes`."""
    least: Any = DENOMINATORS[-1]
    for instance, op in first_resizes(recipe):
        drawn = params[instance.name][op.name]
        size = drawn["size"] if isinstance(op, Resize) else np.array(pair_of(op.size_px or 1))
        least = np.minimum(least, (drawn["box"][:, 2:] // (LEAST_SHRINK * size.astype(np.int64))).min(1))
    at = np.searchsorted(DENOMINATORS, least, side="right") - 1
    return np.array(DENOMINATORS, np.int64)[np.maximum(at, 0)]


def drawn_denominators(recipe: Recipe, params: Mapping[str, Any]) -> Any:
    """What was drawn, (N,); None where images are decoded whole."""
    if recipe.decode == "full":
        return None
    return params.get("", {}).get("decode", {}).get("denominator")


def in_scaled_pixels(recipe: Recipe, params: Mapping[str, Any]) -> Any:
    """The parameters, drawn or tensors of them, for rendering from scaled images: the boxes of first resizes divided, exactly, in
    float64. As they are where nothing was scaled."""
    denominator = drawn_denominators(recipe, params)
    if denominator is None or (isinstance(denominator, np.ndarray) and (denominator == 1).all()):
        return params
    scaled = dict(params)
    for instance, op in first_resizes(recipe):
        drawn = params[instance.name]
        box = drawn[op.name]["box"]
        divided = (box / denominator[:, None] if isinstance(box, np.ndarray) else box.double() / denominator.double()[:, None])
        scaled[instance.name] = {**drawn, op.name: {**drawn[op.name], "box": divided}}
    return scaled


def reduced(image: np.ndarray, denominator: int) -> np.ndarray:
    """(H, W, C) uint8 -> (ceil(H / d), ceil(W / d), C): means of d x d blocks, of what there is of them at the right and bottom
    edge, rounded half up. What becomes of an image that cannot be decoded at that scale."""
    if denominator == 1:
        return image
    height, width, channels = image.shape
    d, tall, wide = denominator, -(-height // denominator), -(-width // denominator)
    rows = np.zeros((tall, width, channels), np.uint16)
    for k in range(min(d, height)):
        part = image[k::d]
        rows[:len(part)] += part
    sums = np.zeros((tall, wide, channels), np.uint16)
    for k in range(min(d, width)):
        part = rows[:, k::d]
        sums[:, :part.shape[1]] += part
    count = (_lengths(height, d)[:, None] * _lengths(width, d))[..., None]
    return ((sums + count // 2) // count).astype(np.uint8)


def reduced_levels(levels: Tensor, denominator: int) -> Tensor:
    """`reduced` of levels (..., H, W), rounded half up before; gradients pass through the roundings."""
    import torch
    from torch.nn.functional import pad

    from .ops.batched import passed_through

    if denominator == 1:
        return levels
    d, (height, width) = denominator, levels.shape[-2:]
    whole = passed_through(torch.floor(levels + 0.5), levels)
    blocks = pad(whole, (0, -width % d, 0, -height % d)).unflatten(-1, (-1, d)).unflatten(-3, (-1, d))
    count = torch.from_numpy(_lengths(height, d)[:, None] * _lengths(width, d)).to(levels.device)
    mean = blocks.sum((-3, -1)).double() / count  # sums of whole numbers below 2**24 are exact
    return passed_through(torch.floor(mean + 0.5), mean).to(levels.dtype)


def _lengths(size: int, d: int) -> np.ndarray:
    """How many of `size` pixels lie in each block of d."""
    lengths = np.full(-(-size // d), d, np.uint16)
    lengths[-1] -= -size % d
    return lengths
