"""A smooth random deformation. Source: LCI, arXiv:2004.02331."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Warp(Op):
    """A spline through `points` random control points, each moved per axis by shift_fraction of the height."""

    type: ClassVar[str] = "warp"

    points: int | None = fields.whole()
    shift_fraction: tuple[float, float] | None = fields.span()
    scope: str | None = fields.scope()
