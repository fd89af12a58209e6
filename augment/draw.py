"""Recipe -> parameters: every random choice of a batch of views, before any pixel is seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from . import laws
from .chance import Chance
from .recipe import Instance, Recipe

if TYPE_CHECKING:
    from .op import Op, OpParams

DRAW_VERSION = 1
"""Goes up when any law draws other values from the same numbers; kept with every state and checkpoint."""

Params = dict[str, dict[str, dict[str, np.ndarray]]]
"""params["global/0"]["crop"]["box"]: view, op by name, array with leading dimension N."""


def draw(recipe: Recipe, seed: int, epoch: int, index: np.ndarray, size_hw: np.ndarray, *,
         position: np.ndarray | None = None, length: int | None = None, partner_size_hw: np.ndarray | None = None) -> Params:
    """The parameters of N samples' views: a pure function of its arguments, the same on every machine.

    index (N,) int64: the samples' numbers in the data set. size_hw (N, 2): their heights and widths in pixels, >= 1.
    position (N,) int64: their global positions in the epoch, needed where an op is shared by blocks of positions or
    takes a partner image; length: samples in the epoch, so that partners of the last block exist; partner_size_hw (N, 2):
    sizes of the partner images, whose positions `partners_of` tells.
    Raises UnsupportedRecipe where the recipe leaves a field open or an op cannot be drawn, ValueError on other arguments.
    """
    index = np.asarray(index, np.int64)
    size_hw = _sizes("size_hw", size_hw, index)
    if position is not None:
        position = np.asarray(position, np.int64)
    params: Params = {}
    partner_hw = size_hw
    if recipe.takes_partner:
        if partner_size_hw is None:
            raise ValueError(f"recipe {recipe} takes a second image: draw needs partner_size_hw (N, 2), the sizes of the images "
                             "at the positions that partners_of tells")
        partner_hw = _sizes("partner_size_hw", partner_size_hw, index)
        params[""] = {"partner": {"position": partners_of(recipe, seed, epoch, index, position, length)}}
    known: Known | None = {} if any(view.arm for view in recipe.views) else None
    for group in recipe.siblings:
        chances = [Chance(seed, epoch, index, position, recipe.block, i.view.group, i.place, i.copy, len(group), i.world)
                   for i in group]
        copies = []
        shared = None if any(op.joins for op in group[0].ops) else known  # what joins may change is its own
        for instance, chance in zip(group, chances, strict=True):
            partner = instance.view.image == "partner"
            copies.append(_drawn(instance.ops, replace(chance, world=_PARTNER + chance.world) if partner else chance,
                                 partner_hw if partner else size_hw, shared))
        _join(group, chances, copies, partner_hw)
        params.update({instance.name: drawn for instance, drawn in zip(group, copies, strict=True)})
    return {name: params[name] for name in ("", *(i.name for i in recipe.instances)) if name in params}


_PARTNER = "partner:"


Known = dict[tuple[object, ...], tuple["OpParams", np.ndarray, np.ndarray]]
"""What the arms of a recipe have drawn for a view: parameters, sizes before and after, by all that they depend on."""


def _drawn(ops: tuple[Op, ...], chance: Chance, size_hw: np.ndarray, known: Known | None = None) -> dict[str, OpParams]:
    drawn = {}
    for op in ops:
        of_op = chance.of(op.name, getattr(op, "share", None))
        if known is None:
            drawn[op.name], size_hw = op.draw(of_op, size_hw)
            continue
        own = (op, chance.world, chance.group, chance.ordinal, chance.copy, op.by_siblings and chance.siblings, id(size_hw))
        if own not in known:
            known[own] = (*op.draw(of_op, size_hw), size_hw)
        params, size_hw, _ = known[own]
        drawn[op.name] = dict(params)
    return drawn


def _join(group: tuple[Instance, ...], chances: list[Chance], copies: list[dict[str, OpParams]], partner_hw: np.ndarray) -> None:
    """What the views of a group have to agree on, by the ops that say so."""
    ops = group[0].ops
    joining = [op for op in ops if op.joins]
    if not joining:
        return
    partners = []
    if any(op.takes_partner for op in joining):
        until = ops.index(joining[0])
        partners = [_drawn(instance.ops[:until], replace(chance, world=_PARTNER + chance.world), partner_hw)
                    for instance, chance in zip(group, chances, strict=True)]
    for op in joining:
        earlier = tuple(each.name for each in ops[:ops.index(op)])
        op.join(chances[0].of(op.name, getattr(op, "share", None)), copies, earlier, partners)


def _sizes(name: str, size_hw: np.ndarray, index: np.ndarray) -> np.ndarray:
    size_hw = np.asarray(size_hw, np.int64)
    if index.ndim != 1 or size_hw.shape != (len(index), 2):
        raise ValueError(f"draw needs index (N,) and {name} (N, 2), got {index.shape} and {size_hw.shape}")
    if len(index) and size_hw.min() < 1:
        raise ValueError(f"{name} needs sides >= 1 px, got {size_hw.min()}")
    return size_hw


def partners_of(recipe: Recipe, seed: int, epoch: int, index: np.ndarray, position: np.ndarray | None,
                length: int | None = None) -> np.ndarray:
    """(N,) int64: the positions of the samples' partner images, each another one of the sample's block."""
    return partners(Chance(seed, epoch, np.asarray(index, np.int64), position, recipe.block), length)


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
