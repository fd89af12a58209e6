"""Shrink by a whole factor. Source: Representation Learning by Learning to Count, arXiv:1708.06734."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op
from .resample import resize

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams

FILTERS = ("bilinear", "bicubic", "lanczos")
"""What "random-choice" chooses from; which ones the source chose from is not stated."""


@dataclass(frozen=True, kw_only=True)
class Downscale(Op):
    """factor: both sides are divided by it, rounded down, but not below 1 px; the whole image is resized to that, antialiased.

    filter "random-choice": one of FILTERS each time, so that no single filter's blur gives the small image away.
    Parameters, then only: choice (N,) int8, the number in FILTERS.
    """

    type: ClassVar[str] = "downscale"

    factor: int | None = fields.whole()
    filter: str | None = fields.one_of(None, *FILTERS, "random-choice")
    scope: str | None = fields.scope()

    def output(self, size_hw: tuple[int, int] | None, channels: int) -> tuple[tuple[int, int] | None, int]:
        return (None if size_hw is None else self.divided(*size_hw)), channels

    def divided(self, height: int, width: int) -> tuple[int, int]:
        assert self.factor is not None
        return max(height // self.factor, 1), max(width // self.factor, 1)

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.factor is not None
        after = np.maximum(np.asarray(size_hw, np.int64) // self.factor, 1)
        if self.filter != "random-choice":
            return {}, after
        choice = laws.integer(chance.uniforms(1, scope=str(self.scope))[:, 0], 0, len(FILTERS))
        return {"choice": choice.astype(np.int8)}, after

    def caption(self, params: OpParams, row: int) -> str:
        filter = FILTERS[params["choice"][row]] if self.filter == "random-choice" else self.filter
        return f"downscale by {self.factor}, {filter}"

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        if self.filter != "random-choice":
            if isinstance(images, list):
                return [self._resized(image[None], str(self.filter))[0] for image in images]
            return self._resized(images, str(self.filter))
        if isinstance(images, list):
            return [self._resized(image[None], FILTERS[int(which)])[0]
                    for image, which in zip(images, params["choice"], strict=True)]
        # All three of every image, then one of them: no branch depends on what was drawn.
        choice = torch.as_tensor(params["choice"], device=images.device).reshape(-1, 1, 1, 1)
        first, *others = (self._resized(images, filter) for filter in FILTERS)
        for number, other in enumerate(others, 1):
            first = torch.where(choice == number, other, first)
        return first

    def _resized(self, images: Tensor, filter: str) -> Tensor:
        size = self.divided(*images.shape[-2:])
        return resize(images.flatten(0, 1), size, filter, antialias=True).unflatten(0, images.shape[:2])
