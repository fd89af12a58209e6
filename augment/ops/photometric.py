"""Some of a few tone ops, at random strengths. Source: PIRL, arXiv:1912.01991, whose code takes all four."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import fields
from ..op import Op, nearest
from .autocontrast import stretch
from .batched import coin, column, where
from .posterize import posterize
from .sharpness import sharpen

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams

TONES = ("posterize", "sharpness", "solarize", "autocontrast")
"""What choices may name."""


@dataclass(frozen=True, kw_only=True)
class Photometric(Op):
    """With chance p, `pick` different ones of the choices, in a drawn order, each at a level u uniform in [0, 1).

    strength s scales what u does; s = 1 spans RandAugment's ranges: posterize keeps 8 - round(4 s u) bits (half up),
    sharpness has the factor 1 + 0.9 s (2 u - 1), solarize the threshold 256 (1 - s u); autocontrast has no strength.
    Parameters: apply (N,) bool; choice int8, the number in choices, and level float32, u: (N,), or (N, pick) where
    pick > 1, in the order of application.
    """

    type: ClassVar[str] = "photometric"

    p: float | None = fields.probability(None)
    choices: tuple[str, ...] | None = fields.words()
    pick: int | None = fields.whole()
    strength: float | None = fields.number(None, 0, 1)
    scope: str | None = fields.scope()

    def __post_init__(self) -> None:
        super().__post_init__()
        for choice in self.choices or ():
            if choice not in TONES:
                raise ValueError(f"photometric.choices has no {choice!r}; {nearest(choice, list(TONES))}")
        if self.choices is not None and len(set(self.choices)) < max(len(self.choices), self.pick or 1):
            raise ValueError(f"photometric.choices needs at least pick={self.pick or 1} names, each once, got {self.choices}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.choices is not None and self.pick is not None
        scope = str(self.scope)
        keys = chance.uniforms(len(self.choices), scope=scope, part="choice")
        choice = np.argsort(keys, axis=1, kind="stable")[:, :self.pick].astype(np.int8)
        level = chance.uniforms(self.pick, scope=scope, part="level").astype(np.float32)
        if self.pick == 1:
            choice, level = choice[:, 0], level[:, 0]
        return {"apply": coin(chance, self.p, scope), "choice": choice, "level": level}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        if not params["apply"][row]:
            return ""
        return ", ".join(self._says(int(choice), float(level)) for choice, level in zip(
            np.atleast_1d(params["choice"][row]), np.atleast_1d(params["level"][row]), strict=True))

    def cleared(self, level: Any) -> Any:
        """How many low bits posterize clears, before the fraction is cut off."""
        return level * (4 * (self.strength or 0.0)) + 0.5

    def factor(self, level: Any) -> Any:
        """Of sharpness."""
        return 1 + (2 * level - 1) * (0.9 * (self.strength or 0.0))

    def threshold(self, level: Any) -> Any:
        """Of solarize, in levels."""
        return 256 - level * (256 * (self.strength or 0.0))

    def _says(self, choice: int, level: float) -> str:
        assert self.choices is not None
        tone = self.choices[choice]
        value = {"posterize": f" {8 - int(self.cleared(level))} bits", "solarize": f" {self.threshold(level):.0f}",
                 "sharpness": f" {self.factor(level):.2f}", "autocontrast": ""}
        return tone + value[tone]

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        assert self.choices is not None and not isinstance(images, list)
        n = len(images)
        apply, choice, level = (torch.as_tensor(params[name], device=images.device) for name in ("apply", "choice", "level"))
        for chosen, u in zip(choice.reshape(n, -1).unbind(1), level.reshape(n, -1).unbind(1), strict=True):
            for number, tone in enumerate(self.choices):
                images = where(apply & (chosen == number), self._toned(tone, images, column(u, images)), images)
        return images

    def _toned(self, tone: str, images: Tensor, level: Tensor) -> Tensor:
        """All images by one tone. level (N, 1, 1, 1)."""
        import torch

        if tone == "posterize":
            cleared = self.cleared(level).to(torch.int32)
            return posterize(images, torch.ones_like(cleared) << cleared)
        if tone == "sharpness":
            return sharpen(images, self.factor(level))
        if tone == "solarize":
            return images.where(images < self.threshold(level), 255 - images)
        return stretch(images)
