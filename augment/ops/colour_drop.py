"""Some channels become noise or nothing, so that fringes of colour cannot tell positions. Source: Context Prediction,
arXiv:1505.05192."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op
from .batched import coin, where

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class ColourDrop(Op):
    """With chance p, `keep` random channels stay, minus their own mean if subtract_mean; the others become fill.

    fill_range: of "uniform-noise", on a scale whose white is value_scale. The result is not clamped: a kept channel minus
    its mean has both signs. Parameters: apply (N,) bool; kept (N, 3) bool; seed (N,) int64, see `pixel_noise`: element
    c H W + y W + x.
    """

    type: ClassVar[str] = "colour_drop"
    optional: ClassVar[frozenset[str]] = frozenset({"fill_range", "value_scale"})

    p: float | None = fields.probability(None)
    keep: int | None = fields.whole()
    subtract_mean: bool | None = fields.flag()
    fill: str | None = fields.one_of(None, "uniform-noise", "zero")
    fill_range: tuple[float, float] | None = fields.span()
    value_scale: float | None = fields.strength()
    scope: str | None = fields.scope()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep is not None and self.keep > 3:
            raise ValueError(f"colour_drop.keep needs 1 to 3 of the three channels, got {self.keep}")
        if self.value_scale == 0:
            raise ValueError("colour_drop.value_scale needs the value of white, above 0, got 0")

    def unstated(self) -> tuple[str, ...]:
        noise = ("fill_range", "value_scale") if self.fill == "uniform-noise" else ()
        return (*super().unstated(), *(name for name in noise if getattr(self, name) is None))

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.keep is not None and self.scope is not None
        kept = laws.lowest(chance.uniforms(3, scope=self.scope, part="kept"), self.keep)
        seed = laws.seed(chance.uniforms(1, scope=self.scope, part="seed")[:, 0])
        return {"apply": coin(chance, self.p, self.scope), "kept": kept, "seed": seed}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        kept = [name for name, stays in zip(("red", "green", "blue"), params["kept"][row], strict=True) if stays]
        return f"only {', '.join(kept)}" if params["apply"][row] else ""

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        from ..pixel_noise import uniform

        assert not isinstance(images, list)
        kept = torch.as_tensor(params["kept"], device=images.device)[:, :, None, None]
        staying = images - images.mean((2, 3), keepdim=True) if self.subtract_mean else images
        fill = torch.zeros_like(images)
        if self.fill == "uniform-noise":
            assert self.fill_range is not None and self.value_scale is not None
            low, high = (255 / self.value_scale * end for end in self.fill_range)
            seed = torch.as_tensor(params["seed"], device=images.device)
            fill = low + (high - low) * uniform(seed, images[0].numel()).reshape(images.shape)
        return where(params["apply"], staying.where(kept, fill), images)
