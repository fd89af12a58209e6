"""A square of one colour. Source: Cutout, arXiv:1708.04552."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op
from .batched import coin, column

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Cutout(Op):
    """With chance p a box of size_px (a side, or height and width) around a uniform pixel, cut at the border, becomes fill
    (levels). Parameters: apply (N,) bool; box (N, 4) int32, the part inside the image: top, left, height, width.
    """

    type: ClassVar[str] = "cutout"

    p: float | None = fields.probability(1.0)
    size_px: int | tuple[int, int] | None = fields.size()
    fill: tuple[float, ...] | None = fields.vector((0.0, 0.0, 0.0), 3)
    scope: str | None = fields.scope()

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.size_px is not None
        u = chance.uniforms(2, scope=str(self.scope), part="centre")
        sides = np.array(fields.pair_of(self.size_px))
        start = laws.integer(u, 0, size_hw) - sides // 2
        first, stop = np.maximum(start, 0), np.minimum(start + sides, size_hw)
        box = np.concatenate([first, stop - first], 1).astype(np.int32)
        return {"apply": coin(chance, self.p, self.scope), "box": box}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        top, left, height, width = params["box"][row].tolist()
        return f"{self.type} {width}x{height} at {left},{top}" if params["apply"][row] else ""

    def apply(self, images: Images, params: OpParams) -> Images:
        assert self.fill is not None and not isinstance(images, list)
        colour = images.new_tensor(self.fill).reshape(1, -1, 1, 1)
        return colour.where(inside(images, params["box"]) & column(params["apply"], images), images)


def inside(images: Tensor, box: Any) -> Tensor:
    """(N, 1, H, W) bool: which pixels lie in each image's box (N, 4): top, left, height, width."""
    import torch

    box = torch.as_tensor(box, device=images.device)
    top, left, height, width = (side.reshape(-1, 1) for side in box.unbind(1))
    y, x = (torch.arange(length, device=images.device) for length in images.shape[2:])
    rows = (y >= top) & (y < top + height)
    columns = (x >= left) & (x < left + width)
    return (rows[:, :, None] & columns[:, None, :]).unsqueeze(1)
