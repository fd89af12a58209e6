"""Fewer bits. Source: Pillow's ImageOps.posterize."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Posterize(Op):
    """With chance p, of each 8-bit level the low 8 - bits are cleared."""

    type: ClassVar[str] = "posterize"

    p: float | None = fields.probability(0.2)
    bits: int | None = fields.whole(4)
    scope: str | None = fields.scope()
