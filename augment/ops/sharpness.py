"""Blend with the smoothed image. Source: Pillow's ImageEnhance.Sharpness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Sharpness(Op):
    """With chance p, a factor uniform in the range: 0 the smoothed image, 1 the image, 2 sharper."""

    type: ClassVar[str] = "sharpness"

    p: float | None = fields.probability(0.2)
    factor: tuple[float, float] | None = fields.span((0.0, 2.0), 0)
    scope: str | None = fields.scope()
