"""Each channel onto the full range. Source: Pillow's ImageOps.autocontrast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Autocontrast(Op):
    """With chance p, each channel's darkest level becomes 0 and its brightest 255."""

    type: ClassVar[str] = "autocontrast"

    p: float | None = fields.probability(0.2)
    scope: str | None = fields.scope()
