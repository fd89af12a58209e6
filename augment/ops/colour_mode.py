"""Gray, projected or raw. Source: Jigsaw++, arXiv:1805.00385."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams

PROJECTION = ((5 / 6, 1 / 3, -1 / 6), (1 / 3, 1 / 3, 1 / 3), (-1 / 6, 1 / 3, 5 / 6))
"""I - a a^T / (a^T a) with a = (-1, 2, -1): what lenses do to green against magenta is taken out of the colours."""
RAW = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class ColourMode(Op):
    """One of three, with these chances: gray by its weights; projection off the green-magenta axis, clamped to 0..255; raw.

    Parameters: mode (N,) int8, 0 gray, 1 projection, 2 raw.
    """

    type: ClassVar[str] = "colour_mode"

    gray: float | None = fields.probability()
    projection: float | None = fields.probability()
    raw: float | None = fields.probability()
    gray_weights: tuple[float, float, float] | None = fields.weights()
    scope: str | None = fields.scope()

    def __post_init__(self) -> None:
        super().__post_init__()
        chances = (self.gray, self.projection, self.raw)
        stated = [p for p in chances if p is not None]
        if len(stated) == 3 and abs(sum(stated) - 1) > 1e-6:
            raise ValueError(f"colour_mode needs chances of gray, projection and raw that add up to 1, got {chances}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.gray is not None and self.projection is not None and self.scope is not None
        u = chance.uniforms(1, scope=self.scope)[:, 0]
        above = self.gray + self.projection if self.raw else 1.0  # a sum just below 1 must not let raw in
        return {"mode": (u >= self.gray).astype(np.int8) + (u >= above)}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        return ("gray", "projected", "")[params["mode"][row]]

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        assert not isinstance(images, list) and self.gray_weights is not None
        matrices = torch.tensor(((self.gray_weights,) * 3, PROJECTION, RAW), dtype=images.dtype, device=images.device)
        chosen = matrices[torch.as_tensor(params["mode"], device=images.device).long()][..., None, None]  # (N, 3, 3, 1, 1)
        r, g, b = images[:, None].unbind(2)  # a product of matrices would round to TF32 or bfloat16 where those are on
        return (chosen[:, :, 0] * r + chosen[:, :, 1] * g + chosen[:, :, 2] * b).clamp(0, 255)
