"""Gray, projected or raw. Source: Jigsaw++, arXiv:1805.00385."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class ColourMode(Op):
    """One of three, with these chances; projection takes away the green-magenta axis."""

    type: ClassVar[str] = "colour_mode"

    gray: float | None = fields.probability()
    projection: float | None = fields.probability()
    raw: float | None = fields.probability()
    gray_weights: tuple[float, float, float] | None = fields.weights()
    scope: str | None = fields.scope()
