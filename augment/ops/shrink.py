"""To a small square and back. Source: Context Prediction, arXiv:1505.05192."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op
from .batched import coin
from .resample import resize

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Shrink(Op):
    """With chance p to a square of area_px, uniform, and back to restore_px, both ways antialiased; so that how sharp a
    patch is does not tell where it comes from. The other patches have restore_px already.

    Parameters: apply (N,) bool; side_px (N,) int32, the root of the area rounded down, from 1 to restore_px.
    Raises ValueError when drawn for a chance between 0 and 1 on patches of another size: their views would differ in size.
    """

    type: ClassVar[str] = "shrink"

    p: float | None = fields.probability(None)
    area_px: tuple[float, float] | None = fields.span(None, 1)
    restore_px: int | None = fields.whole()
    filter: str | None = fields.one_of(None, "bilinear", "bicubic", "lanczos")
    scope: str | None = fields.scope()

    def output(self, size_hw: tuple[int, int] | None, channels: int) -> tuple[tuple[int, int] | None, int]:
        assert self.restore_px is not None
        return (size_hw if self.p == 0 else (self.restore_px, self.restore_px)), channels

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.p is not None and self.area_px is not None and self.restore_px is not None
        size_hw = np.asarray(size_hw, np.int64)
        other = (size_hw != self.restore_px).any(1)
        if 0 < self.p < 1 and other.any():
            raise ValueError(f"shrink.restore_px needs the size of the patches where 0 < p < 1, got {self.restore_px} for one of "
                             f"{tuple(size_hw[other][0].tolist())} px; set it to that size, or resize first")
        scope = str(self.scope)
        area = laws.uniform(chance.uniforms(1, scope=scope, part="area")[:, 0], *self.area_px)
        side = np.clip(np.floor(np.sqrt(area)), 1, self.restore_px).astype(np.int32)
        after = size_hw if self.p == 0 else np.full_like(size_hw, self.restore_px)
        return {"apply": coin(chance, self.p, scope), "side_px": side}, after

    def caption(self, params: OpParams, row: int) -> str:
        return f"shrink to {params['side_px'][row]} px and back" if params["apply"][row] else ""

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        applies = torch.as_tensor(params["apply"]).tolist()
        sides = torch.as_tensor(params["side_px"]).tolist()
        out = [self._shrunk(image, side) if acts else image
               for image, acts, side in zip(images, applies, sides, strict=True)]
        return torch.stack(out) if out and all(o.shape == out[0].shape for o in out) else out

    def _shrunk(self, image: Tensor, side: int) -> Tensor:
        assert self.restore_px is not None
        small = resize(image, (side, side), str(self.filter), antialias=True)
        return resize(small, (self.restore_px, self.restore_px), str(self.filter), antialias=True)
