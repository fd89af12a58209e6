"""Some channels become noise or nothing. Source: Context Prediction, arXiv:1505.05192."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class ColourDrop(Op):
    """With chance p, `keep` random channels stay."""

    type: ClassVar[str] = "colour_drop"

    p: float | None = fields.probability(None)
    keep: int | None = fields.whole()
    subtract_mean: bool | None = fields.flag()
    fill: str | None = fields.one_of(None, "uniform-noise", "zero")
    fill_range: tuple[float, float] | None = fields.span()
    value_scale: float | None = fields.strength()
    scope: str | None = fields.scope()
