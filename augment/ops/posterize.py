"""Fewer bits. Source: Pillow's ImageOps.posterize."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op
from .batched import coin, where

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Posterize(Op):
    """With chance p, of each level, rounded to 8 bits, the low 8 - bits are cleared. Parameters: apply (N,) bool."""

    type: ClassVar[str] = "posterize"

    p: float | None = fields.probability(0.2)
    bits: int | None = fields.whole(4)
    scope: str | None = fields.scope()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits is not None and self.bits > 8:
            raise ValueError(f"posterize.bits needs a whole number from 1 to 8, got {self.bits}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        return {"apply": coin(chance, self.p, self.scope)}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        return f"posterize {self.bits} bits" if params["apply"][row] else ""

    def apply(self, images: Images, params: OpParams) -> Images:
        assert self.bits is not None and not isinstance(images, list)
        return where(params["apply"], posterize(images, 2 ** (8 - self.bits)), images)


def posterize(images: Tensor, step: Tensor | int) -> Tensor:
    """The multiple of step, a power of two, at or below each rounded level. step: one, or (N, 1, 1, 1)."""
    import torch

    return torch.floor(torch.floor(images + 0.5) / step) * step
