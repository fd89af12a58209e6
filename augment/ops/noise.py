"""Gaussian noise on every pixel and channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Noise(Op):
    """With chance p, noise of a standard deviation uniform in std (unit scale) is added, clipped to 0..255."""

    type: ClassVar[str] = "noise"

    p: float | None = fields.probability(0.5)
    std: tuple[float, float] | None = fields.span((0.0, 0.1), 0)
    scope: str | None = fields.scope()
