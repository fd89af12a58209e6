"""Each colour plane moved by itself, against chromatic aberration. Source: Jigsaw, arXiv:1603.09246."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class ColourShift(Op):
    """offset_px: uniform whole pixels, for each plane and axis. The view loses the largest offset in height and width.

    Parameters: offset (N, 3, 2) int32, down and right: plane c of the view starts there in the image.
    """

    type: ClassVar[str] = "colour_shift"

    offset_px: tuple[float, float] | None = fields.span()
    per: str | None = fields.one_of("plane-and-axis", "plane-and-axis")
    scope: str | None = fields.scope()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.offset_px is not None and not all(x >= 0 and x == int(x) for x in self.offset_px):
            raise ValueError(f"colour_shift.offset_px needs whole pixels >= 0, got {self.offset_px}")

    @property
    def room_px(self) -> int:
        """What the view loses in height and width."""
        assert self.offset_px is not None
        return int(self.offset_px[1])

    def output(self, size_hw: tuple[int, int] | None, channels: int) -> tuple[tuple[int, int] | None, int]:
        if size_hw is None or self.offset_px is None:
            return size_hw, channels
        if min(size_hw) <= self.room_px:
            raise ValueError(f"colour_shift of up to {self.room_px} px leaves nothing of {size_hw[0]} x {size_hw[1]} px")
        return (size_hw[0] - self.room_px, size_hw[1] - self.room_px), channels

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.offset_px is not None and self.scope is not None
        low = int(self.offset_px[0])
        u = np.concatenate([chance.uniforms(3, scope=self.scope, part=axis) for axis in ("down", "right")], 1)
        offset = laws.integer(u, low, self.room_px - low + 1).reshape(-1, 2, 3).swapaxes(1, 2)
        return {"offset": np.ascontiguousarray(offset, np.int32)}, size_hw - self.room_px

    def caption(self, params: OpParams, row: int) -> str:
        return "planes " + " ".join(f"{down},{right}" for down, right in params["offset"][row])

    def apply(self, images: Images, params: OpParams) -> Images:
        if isinstance(images, list):
            return [self._shifted(image[None], params["offset"][i:i + 1])[0] for i, image in enumerate(images)]
        return self._shifted(images, params["offset"])

    def _shifted(self, images: Tensor, offsets: Any) -> Tensor:
        """offsets (N, 3, 2)."""
        import torch

        height, width = (side - self.room_px for side in images.shape[2:])
        offset = torch.as_tensor(offsets, device=images.device).long()
        rows = offset[:, :, :1] + torch.arange(height, device=images.device)  # (N, 3, height)
        columns = offset[:, :, 1:] + torch.arange(width, device=images.device)
        taken = images.gather(2, rows[..., None].expand(-1, -1, -1, images.shape[3]))
        return taken.gather(3, columns[:, :, None].expand(-1, -1, height, -1))
