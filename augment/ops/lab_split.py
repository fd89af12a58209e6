"""CIE Lab, and part of its channels. Sources: Split-Brain, arXiv:1611.09842; CMC, arXiv:1906.05849."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams

CHANNELS = ("L", "a", "b")


@dataclass(frozen=True, kw_only=True)
class LabSplit(Op):
    """keep: of L, a and b, in this order. From here on pixels are in Lab units: L in 0..100, a and b within -110..110.

    No parameters. Conventions: `colour.lab`.
    """

    type: ClassVar[str] = "lab_split"

    keep: tuple[str, ...] | None = fields.words()

    def __post_init__(self) -> None:
        super().__post_init__()
        kept = self.keep
        if kept is not None and not (kept and set(kept) <= set(CHANNELS) and len(set(kept)) == len(kept)):
            raise ValueError(f"lab_split.keep needs some of L, a and b, each once, got {self.keep}")

    def output(self, size_hw: tuple[int, int] | None, channels: int) -> tuple[tuple[int, int] | None, int]:
        return size_hw, channels if self.keep is None else len(self.keep)

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        return {}, size_hw

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        from ..colour.lab import rgb_to_lab

        assert self.keep is not None
        if isinstance(images, list):
            return [image for one in images for image in self.apply(one[None], params)]
        planes = rgb_to_lab(images).unbind(1)
        return torch.stack([planes[CHANNELS.index(c)] for c in self.keep], 1)
