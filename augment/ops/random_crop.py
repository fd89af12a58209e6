"""A window of fixed size at a uniform place, after zero padding. Source: torchvision's RandomCrop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op
from .resample import cut, windows

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class RandomCrop(Op):
    """size_px: the window; pad_px: zeros added on each side first. Box (N, 4) int32 in pixels of the unpadded input:
    top and left may be negative. Raises ValueError when drawn on an image smaller than the window."""

    type: ClassVar[str] = "random_crop"
    optional: ClassVar[frozenset[str]] = frozenset({"share"})

    size_px: int | tuple[int, int] | None = fields.size()
    pad_px: int | None = fields.whole(0, 0)
    scope: str | None = fields.scope()
    share: str | None = fields.text()

    def output(self, size_hw: tuple[int, int] | None, channels: int) -> tuple[tuple[int, int] | None, int]:
        assert self.size_px is not None
        return fields.pair_of(self.size_px), channels

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.size_px is not None and self.pad_px is not None
        window = np.broadcast_to(fields.pair_of(self.size_px), size_hw.shape).astype(np.int64)
        room = np.asarray(size_hw, np.int64) + 2 * self.pad_px - window
        if len(room) and room.min() < 0:
            at = int(room.min(1).argmin())
            raise ValueError(f"random_crop: a window of {tuple(window[at].tolist())} px does not fit an image of "
                             f"{tuple(size_hw[at].tolist())} px padded by {self.pad_px}; resize first, or pad more")
        corner = laws.integer(chance.uniforms(2, scope=str(self.scope)), 0, room + 1) - self.pad_px
        return {"box": np.concatenate([corner, window], 1).astype(np.int32)}, window

    def caption(self, params: OpParams, row: int) -> str:
        top, left, height, width = params["box"][row].tolist()
        return f"{self.type} {width}x{height} at {left},{top}"

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        assert self.size_px is not None
        if not isinstance(images, list):
            return windows(images, params["box"], fields.pair_of(self.size_px))
        boxes = torch.as_tensor(params["box"]).tolist()
        return torch.stack([cut(image, *box) for image, box in zip(images, boxes, strict=True)])
