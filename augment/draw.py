"""Recipe -> parameters: every random choice of a batch of views, before any pixel is seen."""

from __future__ import annotations

import numpy as np

from . import laws
from .chance import Chance
from .recipe import Recipe

DRAW_VERSION = 1
"""Goes up when any law draws other values from the same numbers; kept with every state and checkpoint."""

Params = dict[str, dict[str, dict[str, np.ndarray]]]
"""params["global/0"]["crop"]["box"]: view, op by name, array with leading dimension N."""


def draw(recipe: Recipe, seed: int, epoch: int, index: np.ndarray, size_hw: np.ndarray, *,
         position: np.ndarray | None = None, length: int | None = None) -> Params:
    """The parameters of N samples' views: a pure function of its arguments, the same on every machine.

    index (N,) int64: the samples' numbers in the data set. size_hw (N, 2): their heights and widths in pixels, >= 1.
    position (N,) int64: their global positions in the epoch, needed where an op is shared by blocks of positions or
    takes a partner image; length: samples in the epoch, so that partners of the last block exist.
    Raises UnsupportedRecipe where the recipe leaves a field open or an op cannot be drawn.
    """
    index = np.asarray(index, np.int64)
    size_hw = np.asarray(size_hw, np.int64)
    if index.ndim != 1 or size_hw.shape != (len(index), 2):
        raise ValueError(f"draw needs index (N,) and size_hw (N, 2), got {index.shape} and {size_hw.shape}")
    if len(index) and size_hw.min() < 1:
        raise ValueError(f"size_hw needs sides >= 1 px, got {size_hw.min()}")
    if position is not None:
        position = np.asarray(position, np.int64)
    chance = Chance(seed, epoch, index, position, recipe.block)
    params: Params = {}
    for instance in recipe.instances:
        view = Chance(seed, epoch, index, position, recipe.block, instance.group, instance.ordinal, instance.copy)
        size, drawn = size_hw, {}
        for op in instance.ops:
            drawn[op.name], size = op.draw(view.of(op.name, getattr(op, "share", None)), size)
        params[instance.name] = drawn
    if any(view.image == "partner" for view in recipe.views):
        params[""] = {"partner": {"position": partners(chance, length)}}
    return params


def partners(chance: Chance, length: int | None) -> np.ndarray:
    """(N,) int64: for each sample another position of its block, uniform over the others; its own in a block of one."""
    block = chance.blocks("partner") * chance.block
    assert chance.position is not None
    count = np.minimum(chance.block, (2**62 if length is None else length) - block)
    step = 1 + laws.integer(chance.of("partner").uniforms(1)[:, 0], 0, np.maximum(count - 1, 1))
    return block + (chance.position - block + step) % count


def take(params: Params, rows: np.ndarray) -> Params:
    """The parameters of some of the samples."""
    return {view: {op: {k: v[rows] for k, v in arrays.items()} for op, arrays in ops.items()} for view, ops in params.items()}
