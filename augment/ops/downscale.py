"""Shrink by a whole factor. Source: LCI, arXiv:2004.02331."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Downscale(Op):
    """factor: both sides are divided by it."""

    type: ClassVar[str] = "downscale"

    factor: int | None = fields.whole()
    filter: str | None = fields.one_of(None, "bilinear", "bicubic", "lanczos", "random-choice")
    scope: str | None = fields.scope()
