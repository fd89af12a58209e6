"""Geometry as ops of DALI: each says which arrays it takes of the drawn parameters, and what it does with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from ....augment.draw import Params
from ....augment.fields import pair_of
from ....augment.op import Op
from ....augment.ops import Crop, Flip, Resize
from ....augment.ops.resample import HALF_WIDTH, kernel
from .library import dali

FILTERS = {"bilinear": "INTERP_LINEAR", "bicubic": "INTERP_CUBIC", "lanczos": "INTERP_LANCZOS3"}


@dataclass(frozen=True)
class Cut:
    """The op's box, cut out; what lies outside the image is 0. view: whose parameters it takes."""

    view: str
    op: Op

    def arrays(self, params: Params) -> list[Any]:
        box = params[self.view][self.op.name]["box"].astype(np.int32)
        return [np.ascontiguousarray(box[:, :2]), np.ascontiguousarray(box[:, 2:])]

    def build(self, image: Any, inputs: Iterator[Any]) -> Any:
        return dali().fn.slice(image, start=next(inputs), shape=next(inputs), axes=[0, 1], out_of_bounds_policy="pad",
                                fill_values=0)


@dataclass(frozen=True)
class Mirror:
    """The whole of what comes in, left to right where the op says so: a flip before the crop."""

    view: str
    op: Flip

    def arrays(self, params: Params) -> list[Any]:
        return [params[self.view][self.op.name]["apply"].astype(np.int32)]

    def build(self, image: Any, inputs: Iterator[Any]) -> Any:
        return dali().fn.flip(image, horizontal=next(inputs))


@dataclass(frozen=True)
class Resample:
    """The whole of what comes in, or the op's box of it where `region`, to the op's size; mirrored where flip says so.

    exact: as Pillow does, one axis after the other, each rounded to 8 bits, with taps beyond the border left out; else in one
    go, the border repeated.
    """

    view: str
    op: Crop | Resize
    flip: Flip | None
    exact: bool
    region: bool

    def arrays(self, params: Params) -> list[Any]:
        drawn = params[self.view]
        own = drawn[self.op.name]
        box = own["box"].astype(np.float32)
        size = own["size"].astype(np.float32) if isinstance(self.op, Resize) else np.full_like(box[:, 2:], self._fixed)
        turned = np.zeros(len(box), bool) if self.flip is None else drawn[self.flip.name]["apply"]
        found: list[Any] = [size] if isinstance(self.op, Resize) else []  # a crop's is known to the graph
        if self.region or self.flip is not None:
            start, end = (box[:, :2], box[:, :2] + box[:, 2:]) if self.region else (np.zeros_like(size), np.ones_like(size))
            backwards = turned[:, None] & np.array([False, True])  # from right to left
            found += [np.where(backwards, end, start), np.where(backwards, start, end)]
        if self.exact:
            bottom, right = own["box"][:, 2:].astype(np.int32).T - 1
            ends = [np.where(turned, right, 0), np.where(turned, 0, right), bottom]  # the columns that the output begins and
            found += [np.stack([box[:, 2], size[:, 1]], 1), *(end.astype(np.int32)[:, None] for end in ends)]  # ends with
            for axis in (1, 0):
                found += edges(box[:, 2 + axis], size[:, axis], str(self.op.filter), axis)
        return found

    def build(self, image: Any, inputs: Iterator[Any]) -> Any:
        fn, types = dali().fn, dali().types
        size = next(inputs) if isinstance(self.op, Resize) else [float(side) for side in self._fixed]
        resize = partial(fn.resize, interp_type=getattr(types, FILTERS[str(self.op.filter)]), antialias=bool(self.op.antialias),
                         subpixel_scale=False, dtype=types.FLOAT if self.exact else types.UINT8)
        mirrored = resize
        if self.region or self.flip is not None:
            mirrored = partial(resize, roi_start=next(inputs), roi_end=next(inputs), roi_relative=not self.region)
        if not self.exact:
            return mirrored(image, size=size)
        half, first, last, bottom = (next(inputs) for _ in range(4))
        across, down = partial(fn.slice, shape=[1], axes=[1]), partial(fn.slice, shape=[1], axes=[0])
        wide = self._inside(mirrored(image, size=half), across(image, start=first), across(image, start=last), inputs)
        return self._inside(resize(wide, size=size), down(wide, start=[0]), down(wide, start=bottom), inputs)

    def _inside(self, repeated: Any, first: Any, last: Any, inputs: Iterator[Any]) -> Any:
        """What the border's repetition, of the row or column `first` and of `last`, added is taken off again."""
        low, high, gain = (next(inputs) for _ in range(3))
        if repeated.device == "gpu":
            low, high, gain = low.gpu(), high.gpu(), gain.gpu()
        fn, types = dali().fn, dali().types
        return fn.cast((repeated - first * low - last * high) * gain, dtype=types.UINT8)

    @property
    def _fixed(self) -> tuple[int, int]:
        assert isinstance(self.op, Crop) and self.op.size_px is not None
        return pair_of(self.op.size_px)


@lru_cache(maxsize=16384)
def edge_weights(length: int, out: int, filter: str) -> np.ndarray:
    """(3, out) float32: how much of an output's weight falls before the first of `length` pixels, how much after the last,
    and what the rest is to be multiplied by to weigh 1."""
    found = np.array([[0.0], [0.0], [1.0]]).repeat(out, 1)
    if length != out:
        scale, stretch = length / out, max(length / out, 1.0)
        support = HALF_WIDTH[filter] * stretch
        center = (np.arange(min(out, int(np.ceil(support / scale)) + 1))[:, None] + 0.5) * scale
        tap = np.arange(-int(np.ceil(support)) - 1, int(np.ceil(center[-1, 0] + support)) + 1)
        weights = kernel(filter, torch.from_numpy((tap + 0.5 - center) / stretch)).numpy()
        found[0, :len(center)] = weights[:, tap < 0].sum(1) / weights.sum(1)
        found[1] = found[0, ::-1]
        found[2] = 1 / (1 - found[0] - found[1])
    return found.astype(np.float32)


def edges(length: np.ndarray, out: np.ndarray, filter: str, axis: int) -> list[Any]:
    """The three weights of N samples, shaped to meet (h, w, C) along the axis; lists where the samples' sizes differ."""
    sides = length.astype(np.int64) << 32 | out.astype(np.int64)
    pairs, which = np.unique(sides, return_inverse=True)
    of_pair = [edge_weights(pair >> 32, pair & 0xFFFFFFFF, filter) for pair in pairs.tolist()]
    shape = (1, -1, 1) if axis == 1 else (-1, 1, 1)
    if (out == out[0]).all():
        table = np.stack(of_pair, 1)
        return [table[part][which].reshape(len(length), *shape) for part in range(3)]
    return [[of_pair[pair][part].reshape(shape) for pair in which.tolist()] for part in range(3)]



Step = Cut | Mirror | Resample
