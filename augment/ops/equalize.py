"""A flat histogram of each channel. Source: Pillow's ImageOps.equalize."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Equalize(Op):
    """With chance p, each channel is equalized by its 8-bit histogram."""

    type: ClassVar[str] = "equalize"

    p: float | None = fields.probability(0.2)
    scope: str | None = fields.scope()
