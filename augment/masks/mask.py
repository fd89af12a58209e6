"""What every mask is: an op that hands boolean positions to the method; those with a fill blank pixels as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Op

if TYPE_CHECKING:
    from torch import Tensor

    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Mask(Op):
    """Parameters of those that are drawn: mask (N, rows, columns) bool, True where masked."""

    type: ClassVar[str] = "masks"
    generator: ClassVar[str | None] = None
    fills: ClassVar[bool] = False
    """Whether `apply` blanks pixels; the others leave them to the method."""

    def to_dict(self) -> dict[str, Any]:
        items = super().to_dict()
        return {"op": items.pop("op"), "generator": self.generator, **items}

    def caption(self, params: OpParams, row: int) -> str:
        mask = params["mask"][row]
        return f"{int(mask.sum())} of {mask.size} patches masked"

    def apply(self, images: Images, params: OpParams) -> Images:
        return images


@dataclass(frozen=True, kw_only=True)
class UnstatedMask(Mask):
    """The source says that there is a mask, not how it is made."""

    def unstated(self) -> tuple[str, ...]:
        return ("generator",)


def filled(images: Tensor, hidden: Tensor, fill: tuple[float, ...], fill_scale: str) -> Tensor:
    """images (N, C, H, W) with `fill` (one number, or C of them) where hidden (anything that broadcasts) is True.

    fill_scale: "uint8" levels, or "unit", 1 being white: 255 levels, or 100 on a lone channel, which is the L of Lab.
    """
    channels = images.shape[1]
    if len(fill) not in (1, channels):
        raise ValueError(f"masks.fill needs 1 number or one for each of {channels} channels, got {fill}")
    white = 1 if fill_scale == "uint8" else 100 if channels == 1 else 255
    return images.where(~hidden, images.new_tensor([v * white for v in fill]).reshape(1, -1, 1, 1))


def one_size(size_hw: np.ndarray) -> tuple[int, int]:
    """Height and width of N views that have the same, as a mask of pixels needs; (0, 0) of no views."""
    sizes = np.unique(size_hw, axis=0)
    if len(sizes) > 1:
        raise ValueError(f"a mask of pixels needs views of one size, got {len(sizes)}; put a crop before it")
    return (int(sizes[0, 0]), int(sizes[0, 1])) if len(sizes) else (0, 0)
