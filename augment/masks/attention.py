"""Visible patches drawn by a teacher's attention. Source: MILAN, arXiv:2208.06049."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from .mask import Mask

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import OpParams

_NO_WEIGHT = -200.0
"""Stands for log 0: with any noise (-3.2 to 22.9) below every weight that float32 holds, the least being e**-103.3."""


@dataclass(frozen=True, kw_only=True)
class Attention(Mask):
    """`visible` positions drawn without replacement by the teacher's class-token attention; the method draws them with
    `visible_by_attention`.

    Parameters: gumbel (N, positions) float32, the noise that makes the largest of log weights + gumbel that draw.
    """

    generator: ClassVar[str] = "attention"
    optional: ClassVar[frozenset[str]] = frozenset({"ratio"})

    grid: tuple[int, int] | None = fields.grid()
    visible: int | None = fields.whole()
    law: str | None = fields.one_of("plackett-luce", "plackett-luce")
    weights: str | None = fields.one_of("teacher-cls-attention", "teacher-cls-attention")
    ratio: float | None = fields.fraction()
    scope: str | None = fields.scope()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid is not None and self.visible is not None and self.visible > self.grid[0] * self.grid[1]:
            raise ValueError(f"masks.visible needs at most the {self.grid[0] * self.grid[1]} positions there are, "
                             f"got {self.visible}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.grid is not None
        u = chance.uniforms(self.grid[0] * self.grid[1], scope=str(self.scope)) + 2.0**-33  # the middle of each step: never 0
        return {"gumbel": (-laws.log(-laws.log(u))).astype(np.float32)}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        return f"{self.visible} of {params['gumbel'].shape[1]} patches seen, as attention says"


def visible_by_attention(weights: Tensor, gumbel: Tensor, visible: int) -> Tensor:
    """mask (N, P) bool, True where masked: `visible` positions a row stay, drawn without replacement by weights.

    weights (N, P) >= 0, any sum; gumbel (N, P): as drawn by `Attention`. Positions of weight zero stay only where the others
    do not suffice. (A softmax that draws all N positions one by one fails there.)
    """
    import torch

    weights = weights.float()
    keys = torch.where(weights > 0, weights.log(), _NO_WEIGHT) + gumbel
    return torch.ones_like(weights, dtype=torch.bool).scatter(1, keys.topk(visible, dim=1).indices, False)
