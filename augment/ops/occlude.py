"""Tiles of another image. Source: Jigsaw++, arXiv:1805.00385."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Occlude(Op):
    """`count` slots receive tiles of the partner image."""

    type: ClassVar[str] = "occlude"

    count: tuple[float, float] | None = fields.span(None, 0)
    source: str | None = fields.one_of("partner", "partner")
    slots: str | None = fields.one_of("without-replacement", "without-replacement")
    cells: str | None = fields.one_of("distinct-random", "distinct-random")
    scope: str | None = fields.scope()
