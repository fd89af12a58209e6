"""A patch with its inside inpainted. Source: LCI, arXiv:2004.02331."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import OpParams


@dataclass(frozen=True, kw_only=True)
class Inpaint(Op):
    """A patch of crop_px at a uniform place: its inner hole_px become normal noise of noise_std, in the unit of the network's
    input, border_px stay around it; the inpainter fills it and it is pasted back. That is a model, so the method renders it.

    Parameters: box (N, 4) int32 top, left, height, width of the patch; seed (N,) int64 of the noise, for `pixel_noise`.
    Raises ValueError when drawn on an image smaller than the patch.
    """

    type: ClassVar[str] = "inpaint"
    needs: ClassVar[str] = "the method's inpainter"

    crop_px: int | None = fields.whole()
    hole_px: int | None = fields.whole()
    border_px: int | None = fields.whole()
    noise_std: float | None = fields.strength()
    scope: str | None = fields.scope()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop_px is None or self.hole_px is None or self.border_px is None:
            return
        if self.crop_px != self.hole_px + 2 * self.border_px:
            raise ValueError(f"inpaint.crop_px needs to be hole_px + 2 * border_px, {self.hole_px} + 2 * {self.border_px}, "
                             f"got {self.crop_px}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        scope = str(self.scope)
        seed = laws.seed(chance.uniforms(1, scope=scope, part="noise")[:, 0])
        return {"box": patch(self.type, self.crop_px, chance.uniforms(2, scope=scope), size_hw), "seed": seed}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        top, left, height, width = params["box"][row].tolist()
        return f"{self.type} {width}x{height} at {left},{top}"


def patch(type: str, crop_px: int | None, u: np.ndarray, size_hw: np.ndarray) -> np.ndarray:
    """(N, 4) int32: squares of crop_px at a place uniform over those inside the image. u (N, 2) in [0, 1)."""
    assert crop_px is not None
    size_hw = np.asarray(size_hw, np.int64)
    room = size_hw - crop_px
    if len(room) and room.min() < 0:
        at = int(room.min(1).argmin())
        raise ValueError(f"{type}.crop_px needs a patch that fits the image, got {crop_px} for one of "
                         f"{tuple(size_hw[at].tolist())} px; resize first, or take a smaller patch")
    return np.concatenate([laws.integer(u, 0, room + 1), np.full_like(size_hw, crop_px)], 1).astype(np.int32)
