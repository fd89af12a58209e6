"""A shift of each channel. Source: Jigsaw, arXiv:1603.09246."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class ValueJitter(Op):
    """Each channel is shifted by its own uniform number in range, both ends included, and clamped to 0..255.

    range: on the scale 0 to value_scale; where both its ends are whole numbers, so are the shifts. Parameters: shift
    (N, 3) float32, in levels.
    """

    type: ClassVar[str] = "value_jitter"

    range: tuple[float, float] | None = fields.span()
    value_scale: float | None = fields.strength()
    scope: str | None = fields.scope()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value_scale == 0:
            raise ValueError("value_jitter.value_scale needs a number > 0 (what white is), got 0")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.range is not None and self.value_scale is not None
        low, high = self.range
        u = chance.uniforms(3, scope=str(self.scope))
        whole = float(low).is_integer() and float(high).is_integer()
        shift = laws.integer(u, int(low), int(high - low) + 1) if whole else laws.uniform(u, low, high)
        return {"shift": (shift * (255 / self.value_scale)).astype(np.float32)}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        return "shift " + ",".join(f"{v:+.4g}" for v in params["shift"][row].tolist())

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        assert not isinstance(images, list)
        shift = torch.as_tensor(params["shift"], dtype=images.dtype, device=images.device)
        return (images + shift[:, :, None, None]).clamp(0, 255)
