"""Keep one pixel in a few. Source: Colorful Image Colorization, arXiv:1603.08511."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Subsample(Op):
    """One pixel in `stride` along each axis, no averaging."""

    type: ClassVar[str] = "subsample"

    stride: int | None = fields.whole()
    mode: str | None = fields.one_of("pick", "pick")
