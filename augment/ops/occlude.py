"""Tiles of another image. Source: Jigsaw++, arXiv:1805.00385."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Occlude(Op):
    """`count` slots show tiles of the partner image instead, each another one, made by the ops before with draws of its own.

    count: a range, each whole number with the same chance. Parameters: partner (N,) bool: this slot is occluded; cell (N,)
    int8: by which tile, -1 where it is not; count (N,) int8: occluded slots of the image.
    """

    type: ClassVar[str] = "occlude"
    joins: ClassVar[bool] = True
    by_siblings: ClassVar[bool] = True
    takes_partner: ClassVar[bool] = True

    count: tuple[float, float] | None = fields.span(None, 0)
    source: str | None = fields.one_of("partner", "partner")
    slots: str | None = fields.one_of("without-replacement", "without-replacement")
    cells: str | None = fields.one_of("distinct-random", "distinct-random")
    scope: str | None = fields.scope("image")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count is not None and any(v != int(v) for v in self.count):
            raise ValueError(f"occlude.count needs whole numbers, got {self.count}")
        if self.scope not in (None, "image", "batch"):
            raise ValueError(f"occlude.scope needs 'image' or 'batch', since all slots are drawn together, got {self.scope!r}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.count is not None
        low, high = int(self.count[0]), int(self.count[1])
        if high > chance.siblings:
            raise ValueError(f"occlude.count needs at most {chance.siblings}, the views of group {chance.group!r}, "
                             f"got {self.count}")
        scope = str(self.scope)
        count = laws.integer(chance.uniforms(1, scope=scope)[:, 0], low, high - low + 1)
        row = np.arange(len(chance))
        turn = laws.ranks(chance.uniforms(chance.siblings, scope=scope, part="slots"))[row, chance.ordinal]
        cells = laws.ranks(chance.uniforms(chance.siblings, scope=scope, part="cells"))
        partner = turn < count
        cell = np.where(partner, cells[row, turn], -1)
        return {"partner": partner, "cell": cell.astype(np.int8), "count": count.astype(np.int8)}, size_hw

    def join(self, chance: Chance, copies: list[dict[str, OpParams]], earlier: tuple[str, ...],
             partners: list[dict[str, OpParams]]) -> None:
        for op in earlier:
            if op not in partners[0]:
                continue  # an order of tiles, say: the partner's tiles come as they are
            for key in partners[0][op]:
                theirs = np.stack([partner[op][key] for partner in partners])
                for copy in copies:
                    rows = np.flatnonzero(copy[self.name]["partner"])
                    values = np.array(copy[op][key])
                    values[rows] = theirs[copy[self.name]["cell"][rows], rows]
                    copy[op][key] = values

    def caption(self, params: OpParams, row: int) -> str:
        return f"partner's tile {int(params['cell'][row])}" if params["partner"][row] else ""

    def apply(self, images: Images, params: OpParams) -> Images:
        return images  # the slot was cut from the partner image from the start
