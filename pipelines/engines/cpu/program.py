"""A recipe as arrays that one compiled call can run: steps, their constants, and where each finds its parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ....augment.draw import Params
from ....augment.ops import Blur, Op
from ....augment.ops.blur import gaussian_weights
from ....augment.recipe import Recipe, UnsupportedRecipe
from ....augment.sharing import prefixes
from . import codes
from .steps import Builder

SIGMA_ROOM_PX = 16.0
"""Blurs of up to this sigma have room whatever the recipe's own range: parameters may be changed before they are rendered."""

BEFORE_GEOMETRY = (codes.JITTER, codes.GRAYSCALE, codes.SOLARIZE, codes.CLIP, codes.FLIP, codes.ROTATE)
"""Steps that may run on a whole image."""


@dataclass(frozen=True)
class Program:
    """steps (S, codes.INTEGERS) int64, constants (S, codes.FLOATS) float64 and instances (V, columns of `codes`) int64, read by
    `kernel.render_image`; sources: (column, count, view, op, array) of each parameter in a packed row of `width` float64;
    size_columns: where a row has the height and width of a resized whole image; largest_hw: of all other pictures between;
    whole: a picture between may be as large as the image; staged: some picture between is read again; turns: height and width may
    change places; reach: pixels that the
    widest blur looks to each side; takes_partner: a second image is read."""

    steps: np.ndarray
    constants: np.ndarray
    instances: np.ndarray
    groups: tuple[str, ...]
    width: int
    sources: tuple[tuple[int, int, str, Op, str], ...]
    largest_hw: tuple[int, int]
    size_columns: tuple[int, ...]
    whole: bool
    staged: bool
    turns: bool
    reach: int
    takes_partner: bool

    def pack(self, params: Params) -> np.ndarray:
        """(N, width) float64: every parameter where the kernel looks for it. ValueError for a blur that there is no room for."""
        first = params[self.sources[0][2]][self.sources[0][3].name][self.sources[0][4]] if self.sources else np.empty(0)
        rows = np.empty((len(first), self.width))
        for column, count, view, op, name in self.sources:
            values = params[view][op.name][name]
            if isinstance(op, Blur) and op.kind == "gaussian" and name == "sigma_px":
                assert op.taps is not None
                values = gaussian_weights(values, op.taps)[:, op.taps // 2 :]
            elif isinstance(op, Blur) and name == "sigma_px" and not (values < self.reach).all():
                raise ValueError(f"{view}'s {op.name}: sigma_px needs values below {self.reach}, got {values.max()}; "
                                 "give the recipe's blur a range that holds it")
            rows[:, column : column + count] = values.reshape(len(values), count)
        return rows


def compile_recipe(recipe: Recipe) -> Program:
    """Raises UnsupportedRecipe naming the op that has no kernel here, and the engine that may have it."""
    builder = Builder()
    groups = tuple(recipe.groups)
    instances = []
    for number, instance in enumerate(recipe.instances):
        where, begin = f"recipe {recipe}, view {instance.name}", len(builder.steps)
        needing = next((op for op in instance.ops if op.needs), None)
        if needing is not None:
            raise UnsupportedRecipe(f"{where}: {needing.type} needs {needing.needs}, which no engine has; try vm.render(..., "
                                    f"engine='torch', models={{{needing.type!r}: ...}})")
        other, unknown = builder.instance(number, instance)
        if unknown is not None:
            raise UnsupportedRecipe(f"{where}: the cpu engine has no kernel for {unknown.type} in this form; try engine='torch'")
        _check_order(builder.steps[begin:], where)
        shape = recipe.groups[instance.group]
        values = shape.channels * shape.height * shape.width
        instances.append([groups.index(instance.group), instance.ordinal, values, shape.height, shape.width, begin,
                          len(builder.steps), codes.ALWAYS if instance.view.image == "partner" else other, 0, 0, shape.channels])
    _share(builder, instances)
    blurs = [op for instance in recipe.instances for op in instance.ops if isinstance(op, Blur)]
    reach = max((math.ceil(max(SIGMA_ROOM_PX, *(op.sigma_px or ()))) + 1 if op.kind == "pillow" else (op.taps or 1) // 2
                 for op in blurs), default=0)
    resizes = tuple(step[2] + 4 for step in builder.steps if step[0] == codes.RESIZE)
    chains = [[step[0] for step in builder.steps[row[codes.BEGIN] : row[codes.END]]] for row in instances]
    chains = [[code for code in chain if code != codes.FLIP] for chain in chains]
    colour_first = any(chain[0] in BEFORE_GEOMETRY for chain in chains)
    staged = any(code in _READS_BYTES for chain in chains for code in chain[1:])
    turns = any(code == codes.ROTATE for chain in chains for code in chain)
    return Program(np.array(builder.steps, np.int64), np.array(builder.constants, np.float64), np.array(instances, np.int64),
                   groups, max(builder.width, 1), tuple(builder.sources), builder.largest, resizes,
                   builder.whole or colour_first, staged, turns, reach, recipe.takes_partner)


_READS_BYTES = (codes.CROP, codes.RESIZE, codes.SHRINK, codes.DOWNSCALE)


def _check_order(steps: list[list[int]], where: str) -> None:
    """On whole images only what is worth it; a view must have a size before the rest."""
    first = next((i for i, step in enumerate(steps) if step[0] in (codes.CROP, codes.RESIZE, codes.CUT)), None)
    if first is None:
        raise UnsupportedRecipe(f"{where}: the cpu engine needs a crop or resize in every view; try engine='torch'")
    if any(step[0] not in BEFORE_GEOMETRY for step in steps[:first]):
        raise UnsupportedRecipe(f"{where}: the cpu engine crops before anything but jitter, grayscale, solarize and flip; "
                                "try engine='torch'")


def _share(builder: Builder, instances: list[list[int]]) -> None:
    """Neighbours that begin with the same steps keep what the first of them made: a puzzle's tiles, the turns of one crop."""
    keys = [builder.keys[row[codes.BEGIN] : row[codes.END]] for row in instances]
    for row, (run, common) in zip(instances, prefixes(keys), strict=True):
        row[codes.BASE], row[codes.SHARED] = run, common
        if common:
            builder.steps[row[codes.BEGIN] + common - 1][codes.SAVE] = 1
