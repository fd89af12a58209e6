"""Which patches are compared. Source: Context Prediction, arXiv:1505.05192."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Pair(Op):
    """offsets: (dx, dy) of the second patch from the first, one per class."""

    type: ClassVar[str] = "pair"
    optional: ClassVar[frozenset[str]] = frozenset({"offsets"})

    rule: str | None = fields.one_of(None, "adjacent-both-orders", "surrounding-and-centre")
    classes: int | None = fields.whole()
    offsets: tuple[tuple[int, int], ...] | None = fields.pairs()
