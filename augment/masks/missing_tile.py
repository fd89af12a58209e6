"""A tile left out. Source: Completing Damaged Jigsaw Puzzles, arXiv:1802.01880."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..ops.batched import column
from .mask import Mask, filled

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class MissingTile(Mask):
    """Exactly `missing` of the group's views, an image's tiles, are replaced by the fill.

    Parameters: missing (N,) bool, whether it is this one.
    """

    generator: ClassVar[str] = "missing-tile"
    fills: ClassVar[bool] = True
    by_siblings: ClassVar[bool] = True

    missing: int | None = fields.whole()
    fill: tuple[float, ...] | None = fields.vector()
    fill_scale: str | None = fields.one_of(None, "uint8", "unit")
    scope: str | None = fields.scope("image")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope not in (None, "image", "batch"):
            raise ValueError(f"masks.scope needs 'image' or 'batch' (all tiles agree on which are missing), got {self.scope!r}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.missing is not None
        if self.missing > chance.siblings:
            raise ValueError(f"masks.missing needs at most the {chance.siblings} views of group {chance.group!r}, "
                             f"got {self.missing}")
        u = chance.uniforms(chance.siblings, scope=str(self.scope))
        return {"missing": laws.ranks(u)[np.arange(len(chance)), chance.ordinal] < self.missing}, size_hw

    def caption(self, params: OpParams, row: int) -> str:
        return "missing" if params["missing"][row] else ""

    def apply(self, images: Images, params: OpParams) -> Images:
        assert not isinstance(images, list) and self.fill and self.fill_scale
        return filled(images, column(params["missing"], images), self.fill, self.fill_scale)
