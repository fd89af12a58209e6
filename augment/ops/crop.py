"""Random resized crop: a box drawn by one of the three laws that papers use, then resized.

Sources: torchvision's RandomResizedCrop; BYOL's and MAE's single clamped draw; TensorFlow's sample_distorted_bounding_box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import fields, laws
from ..attempts import first_fit
from ..op import Op
from .resample import crop_resize

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Crop(Op):
    """size_px: output side or (height, width). scale: area fraction of the image; ratio: width / height.

    law: "torchvision-retry": area uniform, ratio log-uniform, up to `attempts` times until it fits, else `fallback`;
    "clamp": the same two draws once, sides cut to the image; "tf-distorted-box": ratio uniform, height uniform between
    the area limits. min_covered: least fraction of the image, on top of scale. filter, antialias: see `resample.py`;
    cubic_a: the cubic's coefficient, -0.5 with antialias. Box (N, 4) int32: top, left, height, width.
    """

    type: ClassVar[str] = "crop"
    optional: ClassVar[frozenset[str]] = frozenset({"min_covered", "share", "cubic_a"})

    size_px: int | tuple[int, int] | None = fields.size()
    scale: tuple[float, float] | None = fields.area((0.08, 1.0))
    ratio: tuple[float, float] | None = fields.ratio((3 / 4, 4 / 3))
    law: str | None = fields.one_of("torchvision-retry", "torchvision-retry", "clamp", "tf-distorted-box")
    attempts: int | None = fields.whole(10)
    fallback: str | None = fields.one_of("center", "center", "whole", "none")
    filter: str | None = fields.one_of("bicubic", "bilinear", "bicubic", "lanczos")
    antialias: bool | None = fields.flag(True)
    cubic_a: float | None = fields.number(None, -2, 0)
    min_covered: float | None = fields.fraction()
    scope: str | None = fields.scope()
    share: str | None = fields.text()

    def unstated(self) -> tuple[str, ...]:
        open_fields = super().unstated()
        needs_a = self.filter == "bicubic" and self.antialias is False and self.cubic_a is None
        return (*open_fields, "cubic_a") if needs_a else open_fields

    def output(self, size_hw: tuple[int, int] | None, channels: int) -> tuple[tuple[int, int] | None, int]:
        assert self.size_px is not None
        return fields.pair_of(self.size_px), channels

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.size_px is not None
        law = {"torchvision-retry": _retry, "clamp": _clamp, "tf-distorted-box": _distorted}[str(self.law)]
        box = law(self, chance, np.asarray(size_hw, np.int64))
        return {"box": box.astype(np.int32)}, np.broadcast_to(fields.pair_of(self.size_px), size_hw.shape)

    def caption(self, params: OpParams, row: int) -> str:
        top, left, height, width = params["box"][row].tolist()
        return f"{self.type} {width}x{height} at {left},{top}"

    def apply(self, images: Images, params: OpParams) -> Images:
        assert self.size_px is not None
        cubic_a = -0.5 if self.cubic_a is None else self.cubic_a
        return crop_resize(images, params["box"], fields.pair_of(self.size_px), str(self.filter), bool(self.antialias), cubic_a)


def _area_and_ratio(op: Any, u: np.ndarray, size_hw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height and width, rounded half to even, of boxes whose area is uniform and whose ratio is log-uniform."""
    area = size_hw[:, 0] * size_hw[:, 1] * laws.uniform(u[:, 0], *op.scale)
    ratio = laws.log_uniform(u[:, 1], *op.ratio)
    return np.rint(np.sqrt(area / ratio)).astype(np.int64), np.rint(np.sqrt(area * ratio)).astype(np.int64)


def _place(u: np.ndarray, size_hw: np.ndarray, h: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Boxes of the given sides at a uniform place, both borders included."""
    top = laws.integer(u[:, 2], 0, size_hw[:, 0] - h + 1)
    left = laws.integer(u[:, 3], 0, size_hw[:, 1] - w + 1)
    return np.stack([top, left, h, w], 1)


def _retry(op: Any, chance: Chance, size_hw: np.ndarray) -> np.ndarray:
    def propose(u: np.ndarray, size_hw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        h, w = _area_and_ratio(op, u, size_hw)
        return _place(u, size_hw, h, w), (h > 0) & (w > 0) & (h <= size_hw[:, 0]) & (w <= size_hw[:, 1])

    box, fits = first_fit(propose, op.attempts, chance, size_hw, scope=op.scope)
    if op.fallback == "none" and not fits.all():
        raise ValueError(f"crop: no box of scale {op.scale} and ratio {op.ratio} fits an image of "
                         f"{tuple(size_hw[fits.argmin()].tolist())} px after {op.attempts} attempts; "
                         "set fallback to 'center' or 'whole'")
    return _or_fallback(op, box, fits, size_hw)


def _clamp(op: Any, chance: Chance, size_hw: np.ndarray) -> np.ndarray:
    u = chance.uniforms(4, scope=op.scope)
    h, w = _area_and_ratio(op, u, size_hw)
    h, w = np.clip(h, 1, size_hw[:, 0]), np.clip(w, 1, size_hw[:, 1])
    return _place(u, size_hw, h, w)


def _distorted(op: Any, chance: Chance, size_hw: np.ndarray) -> np.ndarray:
    """TensorFlow's law: the ratio uniform, then the height uniform among those whose area is allowed."""
    def propose(u: np.ndarray, size_hw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = size_hw.T
        ratio = laws.uniform(u[:, 0], *op.ratio)
        smallest, largest = op.scale[0] * height * width, op.scale[1] * height * width
        low = np.rint(np.sqrt(smallest / ratio)).astype(np.int64)
        high = np.rint(np.sqrt(largest / ratio)).astype(np.int64)
        widest = np.floor((width + 0.5 - 1e-7) / ratio).astype(np.int64)  # the tallest box that is not too wide
        high = np.minimum(np.where(np.rint(high * ratio) > width, widest, high), height)
        low = np.minimum(low, high)
        h = laws.integer(u[:, 1], low, high - low + 1)
        w = np.rint(h * ratio).astype(np.int64)
        h = np.where(w * h < smallest, h + 1, np.where(w * h > largest, h - 1, h))  # rounding may have left the limits
        w = np.rint(h * ratio).astype(np.int64)
        area = h * w
        fits = (area >= smallest) & (area <= largest) & (h > 0) & (w > 0) & (h <= height) & (w <= width)
        fits &= area >= (op.min_covered or 0) * height * width
        # The far border is never reached: the source draws the corner below height - h, not up to it.
        top = laws.integer(u[:, 2], 0, np.maximum(height - h, 1))
        left = laws.integer(u[:, 3], 0, np.maximum(width - w, 1))
        return np.stack([top, left, h, w], 1), fits

    return _or_fallback(op, *first_fit(propose, op.attempts, chance, size_hw, scope=op.scope), size_hw)


def _or_fallback(op: Any, box: np.ndarray, fits: np.ndarray, size_hw: np.ndarray) -> np.ndarray:
    """The boxes that fit, and for the others what op.fallback says."""
    others = np.flatnonzero(~fits)
    if len(others):
        box[others] = _center(size_hw[others], op.ratio) if op.fallback == "center" else _whole(size_hw[others])
    return box


def _whole(size_hw: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros_like(size_hw), size_hw], 1)


def _center(size_hw: np.ndarray, ratio: tuple[float, float]) -> np.ndarray:
    """The largest central box whose ratio is allowed."""
    height, width = size_hw.T
    now = width / height
    h = np.where(now > ratio[1], height, np.where(now < ratio[0], np.rint(width / ratio[0]), height)).astype(np.int64)
    w = np.where(now > ratio[1], np.rint(height * ratio[1]), width).astype(np.int64)
    return np.stack([(height - h) // 2, (width - w) // 2, h, w], 1)
