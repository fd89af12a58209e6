"""Keep one pixel in a few. Source: Colorful Image Colorization, arXiv:1603.08511."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Subsample(Op):
    """One pixel in `stride` along each axis, the first of each run, no averaging; a short last run counts. No parameters."""

    type: ClassVar[str] = "subsample"

    stride: int | None = fields.whole()
    mode: str | None = fields.one_of("pick", "pick")

    def output(self, size_hw: tuple[int, int] | None, channels: int) -> tuple[tuple[int, int] | None, int]:
        assert self.stride is not None
        return (None if size_hw is None else (-(-size_hw[0] // self.stride), -(-size_hw[1] // self.stride))), channels

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.stride is not None
        return {}, -(-np.asarray(size_hw, np.int64) // self.stride)

    def caption(self, params: OpParams, row: int) -> str:
        return f"1 pixel in {self.stride}x{self.stride}"

    def apply(self, images: Images, params: OpParams) -> Images:
        if isinstance(images, list):
            return [image[..., ::self.stride, ::self.stride] for image in images]
        return images[..., ::self.stride, ::self.stride]
