"""Gradients instead of colours. Source: DeepCluster, arXiv:1807.05520, and its code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op
from .batched import luma

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Sobel(Op):
    """The gray image's two gradients, by weights 1, 2, 1 across and -1, 0, 1 along, zeros beyond the border, not scaled.

    Channel 0: right minus left, channel 1: below minus above; the source's own filters have both with the other sign. The
    input is taken as it comes, levels or normalized.
    """

    type: ClassVar[str] = "sobel"

    gray_weights: tuple[float, float, float] | None = fields.weights()
    channels: int | None = fields.whole()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels not in (None, 2):
            raise ValueError(f"sobel.channels needs 2 (along x and along y), got {self.channels}")

    def output(self, size_hw: tuple[int, int] | None, channels: int) -> tuple[tuple[int, int] | None, int]:
        return size_hw, 2

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        return {}, size_hw

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch
        from torch.nn.functional import pad

        assert self.gray_weights is not None and not isinstance(images, list)
        gray = pad(luma(images, self.gray_weights), (1, 1, 1, 1))
        down = gray[:, :, :-2] + 2 * gray[:, :, 1:-1] + gray[:, :, 2:]
        across = gray[..., :-2] + 2 * gray[..., 1:-1] + gray[..., 2:]
        return torch.cat([down[..., 2:] - down[..., :-2], across[:, :, 2:] - across[:, :, :-2]], 1)
