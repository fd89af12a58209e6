"""Random erasing. Source: Zhong et al., arXiv:1708.04896, as torchvision draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Erase(Op):
    """With chance p a box of area fraction `scale` and ratio becomes fill (levels), or noise."""

    type: ClassVar[str] = "erase"

    p: float | None = fields.probability(0.5)
    scale: tuple[float, float] | None = fields.area((0.02, 0.33))
    ratio: tuple[float, float] | None = fields.ratio((0.3, 3.3))
    attempts: int | None = fields.whole(10)
    value: str | None = fields.one_of("constant", "constant", "noise")
    fill: tuple[float, ...] | None = fields.vector((0.0, 0.0, 0.0), 3)
    scope: str | None = fields.scope()
