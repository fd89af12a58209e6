"""A smooth random deformation. Source: LCI, arXiv:2004.02331; TensorFlow's sparse_image_warp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op
from .sampling import bilinear, pixel_grid
from .spline import thin_plate

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Warp(Op):
    """A thin-plate spline through `points` random control points, each moved per axis by shift_fraction of the height.

    Parameters, float32 pixels, y before x: points (N, P, 2), uniform from the first pixel's centre to the last's; shift
    (N, P, 2). What lies at a point goes to point + shift: the flow f has f(point + shift) = shift, and pixel q of the output
    is the input at q - f(q), bilinear, held at the edge, rounded half up to a level.
    """

    type: ClassVar[str] = "warp"

    points: int | None = fields.whole()
    shift_fraction: tuple[float, float] | None = fields.span()
    scope: str | None = fields.scope()

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.points is not None and self.shift_fraction is not None
        shape = (len(chance), self.points, 2)
        place, move = (chance.uniforms(2 * self.points, scope=str(self.scope), part=part).reshape(shape)
                       for part in ("points", "shift"))
        height = np.asarray(size_hw, np.float64)[:, None, :1]
        points = place * (np.asarray(size_hw, np.float64)[:, None] - 1)
        shift = laws.uniform(move, *self.shift_fraction) * height
        return {"points": points.astype(np.float32), "shift": shift.astype(np.float32)}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        return f"warp {len(params['shift'][row])} points, up to {np.abs(params['shift'][row]).max():.1f} px"

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        if not isinstance(images, list):
            points, shift = (torch.as_tensor(params[name], device=images.device) for name in ("points", "shift"))
            return warp(images, points.to(torch.float64), shift.to(torch.float64))
        return [self.apply(image[None], {k: v[i:i + 1] for k, v in params.items()})[0] for i, image in enumerate(images)]


def warp(images: Tensor, points: Tensor, shift: Tensor) -> Tensor:
    """images (N, C, H, W); points and shift (N, P, 2) float64 pixels, y before x."""
    y, x = pixel_grid(images)
    down, right = thin_plate(points + shift, shift, y, x)
    return bilinear(images, y - down, x - right, outside="edge")
