"""A hole in the middle. Source: Context Encoders, arXiv:1604.07379."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from .mask import Mask, filled, one_size

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class CenterHole(Mask):
    """hole_px is predicted; its inner blank_px is filled, so that a ring of ring_px is shown and predicted.

    Parameters: mask (N, height, width) bool, of the view's pixels, True where predicted: nothing in it is left to chance.
    """

    generator: ClassVar[str] = "center-hole"
    fills: ClassVar[bool] = True

    hole_px: int | None = fields.whole()
    blank_px: int | None = fields.whole()
    ring_px: int | None = fields.whole(0, 0)
    fill: tuple[float, ...] | None = fields.vector()
    fill_scale: str | None = fields.one_of(None, "uint8", "unit")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hole_px is None or self.blank_px is None or self.ring_px is None:
            return
        if self.hole_px != self.blank_px + 2 * self.ring_px:
            raise ValueError(f"masks.hole_px needs blank_px + 2 ring_px = {self.blank_px + 2 * self.ring_px}, got {self.hole_px}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.hole_px is not None
        height, width = one_size(size_hw)
        mask = np.zeros((len(chance), height, width), bool)
        if len(chance):
            mask[:, *_middle(self.hole_px, height, width)] = True
        return {"mask": mask}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        return f"hole of {self.hole_px} px, {self.blank_px} px blank"

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        assert not isinstance(images, list) and self.blank_px and self.fill and self.fill_scale
        height, width = images.shape[-2:]
        blank = torch.zeros(height, width, dtype=torch.bool, device=images.device)
        blank[_middle(self.blank_px, height, width)] = True
        return filled(images, blank, self.fill, self.fill_scale)


def _middle(side_px: int, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a central square, an odd pixel over below and to the right."""
    if side_px > min(height, width):
        raise ValueError(f"masks.hole_px needs at most the view's {min(height, width)} px, got {side_px}")
    top, left = (height - side_px) // 2, (width - side_px) // 2
    return slice(top, top + side_px), slice(left, left + side_px)
