"""Reorder the tiles. Source: Jigsaw, arXiv:1603.09246."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Permute(Op):
    """Slot s receives tile perm[s], of set_size permutations with the stated pairwise distances."""

    type: ClassVar[str] = "permute"
    optional: ClassVar[frozenset[str]] = frozenset({"mean_hamming", "min_hamming"})

    slots: int | None = fields.whole()
    set_size: int | None = fields.whole()
    min_hamming: int | None = fields.whole(None, 0)
    mean_hamming: float | None = fields.number()
    scope: str | None = fields.scope()
