"""Recipe -> parameters: every random choice of a batch of views, before any pixel is seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from . import laws
from .chance import Chance
from .recipe import Recipe
from .scaled_decode import denominators

if TYPE_CHECKING:
    from .op import OpParams
    from .turns import Turns

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
    sizes of the partner images, whose positions `partners_of` tells. What belongs to no view stands under "": "partner", and
    "decode" of a recipe with decode="scaled".
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
    chance = Chance(seed, epoch, index, position, recipe.block)
    drawn = _drawn(recipe.turns, chance, size_hw, partner_hw)
    _join(recipe.turns, chance, drawn)
    params.update((instance.name, ops) for instance, ops in zip(recipe.instances, drawn, strict=False))
    if recipe.decode == "scaled":
        params = {"": {"decode": {"denominator": denominators(recipe, params)}}, **params}
    return params


def _drawn(turns: Turns, chance: Chance, size_hw: np.ndarray, partner_hw: np.ndarray) -> list[dict[str, OpParams]]:
    """Of each line, by op name. Views that share an op are rows of one draw; what is the same for several is drawn once."""
    sizes = [partner_hw if line.partner else size_hw for line in turns.lines]
    drawn: list[dict[str, OpParams]] = [{} for _ in turns.lines]
    for turn in turns.turns:
        alike: dict[object, list[int]] = {}
        for line, source in zip(turn.lines, turn.sources, strict=True):
            alike.setdefault((source, id(sizes[line])), []).append(line)
        firsts = [lines[0] for lines in alike.values()]
        seats = tuple(turns.lines[line].seat for line in firsts)
        before = sizes[firsts[0]] if len(firsts) == 1 else np.concatenate([sizes[line] for line in firsts])
        op = turn.op
        params, after = op.draw(replace(chance, seats=seats, stream=op.name, share=getattr(op, "share", None)), before)
        for number, lines in enumerate(alike.values()):
            rows = slice(number * len(chance), (number + 1) * len(chance))
            own = sizes[lines[0]] if after is before else after[rows]
            for line in lines:  # arrays of their own: who changes one view's parameters changes no other's
                drawn[line][op.name] = {k: np.array(v[rows], order="C") for k, v in params.items()}
                sizes[line] = own
    return drawn


def _join(turns: Turns, chance: Chance, drawn: list[dict[str, OpParams]]) -> None:
    """What the views of a group have to agree on, by the ops that say so."""
    for views, partners in turns.groups:
        first = turns.lines[views[0]]
        copies = [drawn[view] for view in views]
        for at, op in enumerate(first.ops):
            if op.joins:
                earlier = tuple(each.name for each in first.ops[:at])
                op.join(replace(chance, seats=(first.seat,), stream=op.name), copies, earlier, [drawn[n] for n in partners])


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
    chance = chance.of("partner")
    place, block = chance.offsets(), chance.blocks() * chance.block
    count = np.minimum(chance.block, (2**62 if length is None else length) - block)
    step = 1 + laws.integer(chance.uniforms(1)[:, 0], 0, np.maximum(count - 1, 1))
    return block + (place + step) % count


def take(params: Params, rows: np.ndarray) -> Params:
    """The parameters of some of the samples."""
    return {view: {op: {k: v[rows] for k, v in arrays.items()} for op, arrays in ops.items()} for view, ops in params.items()}
