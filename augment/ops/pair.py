"""Which patches are compared. Source: Context Prediction, arXiv:1505.05192."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams

_FAR = 2**20
"""More than there are rows or columns: one number tells a tile's place, and one difference a step."""


@dataclass(frozen=True, kw_only=True)
class Pair(Op):
    """rule "adjacent-both-orders": each tile of a lattice with each of its up to 8 neighbours; "surrounding-and-centre": the
    outer eight of 3 x 3 tiles, each with the centre as the second.

    offsets: (dx, dy) of the second patch from the first, one per class; pairs of no listed offset are left out. Without
    offsets, a surrounding tile's class is its number among the eight, in raster order.
    Parameters, the same for all copies: pairs (N, P, 3) int16: first copy, second copy, class; -1 past the last pair.
    """

    type: ClassVar[str] = "pair"
    optional: ClassVar[frozenset[str]] = frozenset({"offsets"})
    joins: ClassVar[bool] = True
    by_siblings: ClassVar[bool] = True

    rule: str | None = fields.one_of(None, "adjacent-both-orders", "surrounding-and-centre")
    classes: int | None = fields.whole()
    offsets: tuple[tuple[int, int], ...] | None = fields.pairs()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.offsets is not None and len(set(self.offsets)) != self.classes:
            raise ValueError(f"pair.offsets needs one offset for each of the {self.classes} classes, got {self.offsets}")
        if self.rule == "surrounding-and-centre" and self.offsets is None and self.classes not in (None, 8):
            raise ValueError(f"pair.classes needs 8, one a surrounding tile, where no offsets are given, got {self.classes}")
        if any((dx, dy) == (0, 0) or max(abs(dx), abs(dy)) > 1 for dx, dy in self.offsets or ()):
            raise ValueError(f"pair.offsets needs steps to the 8 neighbours, each (dx, dy) of -1, 0 or 1, got {self.offsets}")

    def unstated(self) -> tuple[str, ...]:
        open_offsets = self.rule == "adjacent-both-orders" and self.offsets is None
        return (*super().unstated(), *(("offsets",) if open_offsets else ()))

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        if self.rule == "surrounding-and-centre" and chance.siblings != 9:
            raise ValueError(f"pair: 'surrounding-and-centre' needs 9 views in group {chance.group!r}, got {chance.siblings}")
        most = 8 if self.rule == "surrounding-and-centre" else most_pairs(chance.siblings)
        return {"pairs": np.full((len(chance), most, 3), -1, np.int16)}, size_hw

    def join(self, chance: Chance, copies: list[dict[str, OpParams]], earlier: tuple[str, ...],
             partners: list[dict[str, OpParams]]) -> None:
        pairs = copies[0][self.name]["pairs"]
        if self.rule == "surrounding-and-centre":
            pairs[:] = self._around_centre()
        else:
            lattice = next((op for op in earlier if {"cell", "present"} <= copies[0][op].keys()), None)
            if lattice is None:
                raise ValueError("pair: 'adjacent-both-orders' needs tiles of layout 'lattice' before it")
            cell = np.stack([copy[lattice]["cell"] for copy in copies], 1).astype(np.int64)
            self._adjacent(pairs, cell)
        for copy in copies:
            copy[self.name] = {"pairs": pairs}

    def caption(self, params: OpParams, row: int) -> str:
        return f"{int((params['pairs'][row, :, 0] >= 0).sum())} pairs"

    def apply(self, images: Images, params: OpParams) -> Images:
        return images

    def _around_centre(self) -> np.ndarray:
        around = [slot for slot in range(9) if slot != 4]
        if self.offsets is None:
            return np.array([(slot, 4, label) for label, slot in enumerate(around)])
        seen = {slot: (1 - slot % 3, 1 - slot // 3) for slot in around}
        found = [(slot, 4, self.offsets.index(seen[slot])) for slot in around if seen[slot] in self.offsets]
        return np.array(found + [(-1, -1, -1)] * (8 - len(found)))

    def _adjacent(self, pairs: np.ndarray, cell: np.ndarray) -> None:
        """Fill pairs. cell (N, S, 3): lattice, row, column; absent tiles, all at -1, are no neighbours of each other."""
        assert self.offsets is not None
        place = (cell[..., 0] * _FAR + cell[..., 1]) * _FAR + cell[..., 2]
        step = place[:, None] - place[:, :, None]  # (N, first, second)
        labels = np.full(step.shape, -1, np.int16)
        for label, (dx, dy) in enumerate(self.offsets):
            np.copyto(labels, label, where=step == dy * _FAR + dx)
        sample, first, second = np.nonzero(labels >= 0)
        before = np.searchsorted(sample, np.arange(len(cell)))
        pairs[sample, np.arange(len(sample)) - before[sample]] = np.stack([first, second, labels[sample, first, second]], 1)


@lru_cache
def most_pairs(tiles: int) -> int:
    """The most ordered pairs of neighbours among so many tiles, in rows of any length of which the last may be cut short; 40
    for 3 x 3. A rectangle of r x c has 4rc - 3(r + c) + 2 unordered pairs, k < c tiles of a next row add 4k - 2."""
    found = 0
    for columns in range(1, tiles + 1):
        rows, rest = divmod(tiles, columns)
        found = max(found, 4 * rows * columns - 3 * (rows + columns) + 2 + (4 * rest - 2 if rest else 0))
    return 2 * found
