"""A shift of each channel. Source: Jigsaw, arXiv:1603.09246."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class ValueJitter(Op):
    """range: of the shift, on 0 to value_scale."""

    type: ClassVar[str] = "value_jitter"

    range: tuple[float, float] | None = fields.span()
    value_scale: float | None = fields.strength()
    scope: str | None = fields.scope()
