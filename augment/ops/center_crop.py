"""The central window: of fixed size, or a fraction of a side. Source: torchvision's CenterCrop; TensorFlow's central crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op
from .resample import cut, windows

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
    fraction: float | None = fields.fraction()
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
            window = np.array([self._window(each) for each in size_hw.tolist()], np.int64).reshape(-1, 2)
        corner = np.rint((size_hw - window) / 2).astype(np.int64)
        return {"box": np.concatenate([corner, window], 1).astype(np.int32)}, window

    def _window(self, size_hw: Sequence[int]) -> tuple[int, int]:
        if self.size_px is not None:
            return fields.pair_of(self.size_px)
        assert self.fraction is not None
        height, width = (min(size_hw), min(size_hw)) if self.of == "short-side" else size_hw
        return max(round(self.fraction * height), 1), max(round(self.fraction * width), 1)

    def caption(self, params: OpParams, row: int) -> str:
        top, left, height, width = params["box"][row].tolist()
        return f"{self.type} {width}x{height} at {left},{top}"

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        if not isinstance(images, list):
            return windows(images, params["box"], self._window(images.shape[-2:]))
        out = [cut(image, *box) for image, box in zip(images, torch.as_tensor(params["box"]).tolist(), strict=True)]
        return torch.stack(out) if out and all(o.shape == out[0].shape for o in out) else out
