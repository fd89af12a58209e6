"""The central window: of fixed size, or a fraction of a side. Source: torchvision's CenterCrop; TensorFlow's central crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op
from .resample import cut

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class CenterCrop(Op):
    """Either size_px, or a fraction of the side named by `of`: "short-side" gives a square, "each-side" keeps the aspect.

    Box (N, 4) int32; an image smaller than the window is surrounded by zeros, so top and left may be negative.
    """

    type: ClassVar[str] = "center_crop"
    optional: ClassVar[frozenset[str]] = frozenset({"size_px", "fraction", "of"})

    size_px: int | tuple[int, int] | None = fields.size()
    fraction: float | None = fields.probability()
    of: str | None = fields.one_of(None, "short-side", "each-side")

    def unstated(self) -> tuple[str, ...]:
        if self.size_px is None and self.fraction is None:
            return ("size_px",)
        return ("of",) if self.fraction is not None and self.of is None else ()

    def output(self, size_hw: tuple[int, int] | None, channels: int) -> tuple[tuple[int, int] | None, int]:
        return (None if self.size_px is None else fields.pair_of(self.size_px)), channels

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        size_hw = np.asarray(size_hw, np.int64)
        if self.size_px is not None:
            window = np.broadcast_to(fields.pair_of(self.size_px), size_hw.shape).astype(np.int64)
        else:
            assert self.fraction is not None
            side = size_hw.min(1, keepdims=True) if self.of == "short-side" else size_hw
            window = np.broadcast_to(np.maximum(np.rint(self.fraction * side), 1), size_hw.shape).astype(np.int64)
        corner = np.rint((size_hw - window) / 2).astype(np.int64)
        return {"box": np.concatenate([corner, window], 1).astype(np.int32)}, window

    def caption(self, params: OpParams, row: int) -> str:
        top, left, height, width = params["box"][row].tolist()
        return f"{self.type} {width}x{height} at {left},{top}"

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        out = [cut(image, *box) for image, box in zip(images, params["box"].tolist(), strict=True)]
        return torch.stack(out) if out and all(o.shape == out[0].shape for o in out) else out
