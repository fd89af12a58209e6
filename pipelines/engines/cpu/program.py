"""A recipe as arrays that one compiled call can run: steps, their constants, and where each finds its parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ....augment.draw import Params
from ....augment.masks import Mask
from ....augment.ops import (
    Blur,
    CenterCrop,
    Clip,
    Crop,
    Flip,
    Grayscale,
    Jitter,
    Normalize,
    Op,
    RandomCrop,
    Resize,
    Rotate,
    Solarize,
)
from ....augment.ops.blur import gaussian_weights
from ....augment.recipe import Instance, Recipe, UnsupportedRecipe
from .blur import BORDERS
from .resample import FILTERS

CROP, RESIZE, CUT, FLIP, ROTATE, JITTER, GRAYSCALE, PILLOW_BLUR, GAUSSIAN_BLUR, SOLARIZE, CLIP, STORE = range(12)
INTEGERS, FLOATS = 12, 8
"""Columns of a step: its code, its instance, its first parameter; then what the code needs, see `_step`."""

SIGMA_ROOM_PX = 16.0
"""Blurs of up to this sigma have room whatever the recipe's own range: parameters may be changed before they are rendered."""

GEOMETRY = (CROP, RESIZE, CUT)
COMMUTES_WITH_FLIP = (JITTER, GRAYSCALE, PILLOW_BLUR, GAUSSIAN_BLUR, SOLARIZE, CLIP)


@dataclass(frozen=True)
class Program:
    """steps (S, INTEGERS) int64, constants (S, FLOATS) float64, both read by `kernel.render_image`; group, ordinal, values,
    height, width of each instance; sources: (column, count, view, op, array) of each parameter in a packed row of `width`
    float64; size_columns: where a row has the height and width of a resized whole image; staged: a view has two steps of
    geometry; reach: pixels that the widest blur looks to each side."""

    steps: np.ndarray
    constants: np.ndarray
    instances: np.ndarray
    groups: tuple[str, ...]
    width: int
    sources: tuple[tuple[int, int, str, Op, str], ...]
    largest_hw: tuple[int, int]
    size_columns: tuple[int, ...]
    staged: bool
    reach: int

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
    builder = _Builder()
    groups = tuple(recipe.groups)
    instances = []
    for number, instance in enumerate(recipe.instances):
        if instance.view.image == "partner":
            raise UnsupportedRecipe(f"recipe {recipe}, view {instance.name}: no engine of this version renders partner images")
        builder.view(number, instance, str(recipe))
        shape = recipe.groups[instance.group]
        instances.append((groups.index(instance.group), instance.ordinal, shape.channels * shape.height * shape.width,
                          shape.height, shape.width))
    steps, constants = np.array(builder.steps, np.int64), np.array(builder.constants, np.float64)
    largest = (max(s.height for s in recipe.groups.values()), max(s.width for s in recipe.groups.values()))
    largest = (max(largest[0], builder.largest), max(largest[1], builder.largest))
    resizes = tuple(int(step[2]) + 4 for step in steps if step[0] == RESIZE)
    staged = any(step[0] in GEOMETRY and not step[4] for step in steps)
    blurs = [op for instance in recipe.instances for op in instance.ops if isinstance(op, Blur)]
    reach = max((math.ceil(max(SIGMA_ROOM_PX, *(op.sigma_px or ()))) + 1 if op.kind == "pillow" else (op.taps or 1) // 2
                 for op in blurs), default=0)
    return Program(steps, constants, np.array(instances, np.int64), groups, max(builder.width, 1), tuple(builder.sources),
                   largest, resizes, staged or bool(resizes), reach)


class _Builder:
    def __init__(self) -> None:
        self.steps: list[list[int]] = []
        self.constants: list[list[float]] = []
        self.sources: list[tuple[int, int, str, Op, str]] = []
        self.width = 0
        self.largest = 0

    def view(self, number: int, instance: Instance, recipe: str) -> None:
        first_step = len(self.steps)
        for op in instance.ops:
            if isinstance(op, Mask):
                continue
            if not self._op(number, instance.name, op):
                raise UnsupportedRecipe(f"recipe {recipe}, view {instance.name}: the cpu engine has no kernel for {op.type} in "
                                        "this form; try engine='torch'")
        if not any(isinstance(op, Normalize) for op in instance.ops):
            self._op(number, instance.name, Normalize(kind="none"))
        codes = [step[0] for step in self.steps[first_step:]]
        geometry = [i for i, code in enumerate(codes) if code in GEOMETRY]
        if not geometry:
            raise UnsupportedRecipe(f"recipe {recipe}, view {instance.name}: the cpu engine needs a crop or resize in every "
                                    "view; try engine='torch'")
        if geometry != list(range(len(geometry))):
            raise UnsupportedRecipe(f"recipe {recipe}, view {instance.name}: the cpu engine crops before anything else; "
                                    "try engine='torch'")
        last = self.steps[first_step + geometry[-1]]
        last[4] = 1
        for i in range(len(geometry), len(codes)):
            if codes[i] == FLIP:  # mirrored taps cost nothing; symmetric blurs and pointwise steps do not notice
                last[5] = self.steps[first_step + i][2]
                del self.steps[first_step + i], self.constants[first_step + i]
                break
            if codes[i] not in COMMUTES_WITH_FLIP:
                break

    def _step(self, code: int, number: int, integers: tuple[int, ...] = (), floats: tuple[float, ...] = ()) -> None:
        """integers: from column 3 on. Geometry: 3 unused, 4 it is the view's last, 5 parameter of a flip or -1, 6 and 7
        output height and width, 8 filter, 9 antialias; floats: the cubic's a."""
        row = [code, number, self.width, *integers]
        self.steps.append(row + [0] * (INTEGERS - len(row)))
        self.constants.append([*floats, *([0.0] * (FLOATS - len(floats)))])

    def _take(self, view: str, op: Op, name: str, count: int = 1) -> None:
        self.sources.append((self.width, count, view, op, name))
        self.width += count

    def _op(self, number: int, view: str, op: Op) -> bool:
        match op:
            case Crop() | RandomCrop() | CenterCrop():
                assert op.size_px is not None or isinstance(op, CenterCrop)
                if op.size_px is None:
                    return False
                height, width = (op.size_px, op.size_px) if isinstance(op.size_px, int) else op.size_px
                self.largest = max(self.largest, height, width)
                if isinstance(op, Crop):
                    if op.filter == "lanczos" and not op.antialias:
                        return False
                    self._step(CROP, number, (0, 0, -1, height, width, FILTERS[str(op.filter)], int(bool(op.antialias))),
                               (-0.5 if op.cubic_a is None else op.cubic_a,))
                else:
                    self._step(CUT, number, (0, 0, -1, height, width))
                self._take(view, op, "box", 4)
            case Resize(mode="short-side" | "exact"):
                if op.filter == "lanczos" and not op.antialias:
                    return False
                self._step(RESIZE, number, (0, 0, -1, 0, 0, FILTERS[str(op.filter)], int(bool(op.antialias))),
                           (-0.5 if op.cubic_a is None else op.cubic_a,))
                self._take(view, op, "box", 4)
                self._take(view, op, "size", 2)
            case Flip():
                self._step(FLIP, number)
                self._take(view, op, "apply")
            case Rotate(kind="exact"):
                self._step(ROTATE, number)
                self._take(view, op, "quarter_turns")
            case Jitter():
                self._step(JITTER, number, (int(op.brightness_law == "additive"), int(op.contrast_pivot == "channel-mean"),
                                            int(op.saturation_law == "hsv-scale"), int(op.clamp == "each-step"),
                                            *(int(s > 0) for s in op.strengths())))
                for name in ("apply", "order", "brightness", "contrast", "saturation", "hue_turns"):
                    self._take(view, op, name, 4 if name == "order" else 1)
            case Grayscale():
                assert op.weights is not None
                self._step(GRAYSCALE, number, (), op.weights)
                self._take(view, op, "apply")
            case Blur():
                if op.kind == "pillow":
                    self._step(PILLOW_BLUR, number)
                    self._take(view, op, "apply")
                    self._take(view, op, "sigma_px")
                else:
                    assert op.taps is not None
                    self._step(GAUSSIAN_BLUR, number, (op.taps, BORDERS[str(op.border)]))
                    self._take(view, op, "apply")
                    self._take(view, op, "sigma_px", op.taps // 2 + 1)
            case Solarize():
                self._step(SOLARIZE, number, (), (op.level,))
                self._take(view, op, "apply")
            case Clip():
                assert op.lo is not None and op.hi is not None
                self._step(CLIP, number, (), (255 * op.lo, 255 * op.hi))
            case Normalize():
                gain, offset = op.affine()
                self._step(STORE, number, (), (*gain, *offset))
            case _:
                return False
        return True
