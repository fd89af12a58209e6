"""Whole cells, coarser than the model's patches. Source: SimMIM, arXiv:2111.09886."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from .mask import Mask

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import OpParams


@dataclass(frozen=True, kw_only=True)
class GridCells(Mask):
    """Exactly masked_cells of cells (rows, columns), each cell_px wide, enlarged to grid (rows, columns) of patches."""

    generator: ClassVar[str] = "grid-cells"
    optional: ClassVar[frozenset[str]] = frozenset({"ratio", "cell_px"})

    grid: tuple[int, int] | None = fields.grid()
    cells: tuple[int, int] | None = fields.grid()
    masked_cells: int | None = fields.whole()
    cell_px: int | None = fields.whole()
    ratio: float | None = fields.fraction()
    scope: str | None = fields.scope()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid is None or self.cells is None:
            return
        if self.grid[0] % self.cells[0] or self.grid[1] % self.cells[1]:
            raise ValueError(f"masks.grid needs a multiple of cells {self.cells}, got {self.grid}")
        if self.masked_cells is not None and self.masked_cells > self.cells[0] * self.cells[1]:
            raise ValueError(f"masks.masked_cells needs at most {self.cells[0] * self.cells[1]} cells, got {self.masked_cells}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.grid is not None and self.cells is not None and self.masked_cells is not None
        u = chance.uniforms(self.cells[0] * self.cells[1], scope=str(self.scope))
        cells = laws.lowest(u, self.masked_cells).reshape(-1, *self.cells)
        rows, columns = self.grid[0] // self.cells[0], self.grid[1] // self.cells[1]
        return {"mask": cells.repeat(rows, 1).repeat(columns, 2)}, size_hw
