"""Gaussian noise on every pixel and channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op
from .batched import coin, column, where

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Noise(Op):
    """With chance p, normal noise of a standard deviation uniform in std (unit scale) is added, clipped to 0..255.

    Parameters, all (N,): apply bool; std float32; seed int64, see `pixel_noise`: element c H W + y W + x.
    """

    type: ClassVar[str] = "noise"

    p: float | None = fields.probability(0.5)
    std: tuple[float, float] | None = fields.span((0.0, 0.1), 0)
    scope: str | None = fields.scope()

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.std is not None
        scope = str(self.scope)
        std = laws.uniform(chance.uniforms(1, scope=scope, part="std")[:, 0], *self.std)
        seed = laws.seed(chance.uniforms(1, scope=scope, part="seed")[:, 0])
        return {"apply": coin(chance, self.p, scope), "std": std.astype(np.float32), "seed": seed}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        return f"noise {params['std'][row]:.3f}" if params["apply"][row] else ""

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        from ..pixel_noise import normal

        assert not isinstance(images, list)
        seed = torch.as_tensor(params["seed"], device=images.device)
        added = 255 * column(params["std"], images) * normal(seed, images[0].numel()).reshape(images.shape)
        return where(params["apply"], (images + added).clamp(0, 255), images)
