"""Rectangles until enough is masked. Sources: BEiT, arXiv:2106.08254; CAE, arXiv:2202.03026, which tries until exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from .mask import Mask

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import OpParams

MOST_DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class Blocks(Mask):
    """Blocks until a target number of grid's positions is masked. A block's area is uniform between min_area and what is
    left (at most max_area; "target": the target), its aspect (height / width) log-uniform; it spans no full side and must
    mask between one and all of what is left. After `attempts` failures in a row: on_fail "stop" with fewer masked, or
    "retry" until the target is met exactly.
    """

    grid: tuple[int, int] | None = fields.grid()
    min_area: int | None = fields.whole()
    max_area: int | str | None = fields.target("target")
    aspect: tuple[float, float] | None = fields.ratio((0.3, 1 / 0.3), "height / width")
    attempts: int | None = fields.whole(10)
    on_fail: str | None = fields.one_of("stop", "stop", "retry")
    scope: str | None = fields.scope()

    def blocks(self, chance: Chance, targets: np.ndarray, scope: str) -> np.ndarray:
        """(N, rows, columns) bool. targets (N,) float64: positions to mask, which need not be whole numbers.

        All samples take their n-th draw together, so the numbers of a sample do not depend on the others.
        """
        assert self.grid is not None and self.min_area is not None and self.aspect is not None and self.attempts is not None
        rows, columns = self.grid
        mask = np.zeros((len(targets), rows, columns), bool)
        count = np.zeros(len(targets))
        failures = np.zeros(len(targets), np.int64)
        active = np.flatnonzero(targets >= 1)
        y, x = np.arange(rows)[None, :, None], np.arange(columns)[None, None, :]
        most_draws = MOST_DRAWS if self.on_fail == "retry" else rows * columns * self.attempts + 1  # then all have stopped
        for call in range(most_draws):
            if not len(active):
                return mask
            u = chance.rows(active).uniforms(4, scope=scope, call=call)
            most = targets[active] - count[active]
            if isinstance(self.max_area, int):
                most = np.minimum(most, self.max_area)
            area = self.min_area + u[:, 0] * (most - self.min_area)
            aspect = laws.log_uniform(u[:, 1], *self.aspect)
            h, w = np.rint(np.sqrt(area * aspect)).astype(int), np.rint(np.sqrt(area / aspect)).astype(int)
            top = laws.integer(u[:, 2], 0, np.maximum(rows - h + 1, 1))
            left = laws.integer(u[:, 3], 0, np.maximum(columns - w + 1, 1))
            top, left, bottom, right = (v[:, None, None] for v in (top, left, top + h, left + w))
            block = (y >= top) & (y < bottom) & (x >= left) & (x < right)
            new = (block & ~mask[active]).sum((1, 2))
            fits = (h < rows) & (w < columns) & (new >= 1) & (new <= most)
            mask[active[fits]] |= block[fits]
            count[active[fits]] += new[fits]
            failures[active] = np.where(fits, 0, failures[active] + 1)
            given_up = failures[active] >= self.attempts
            if self.on_fail == "retry":
                failures[active[given_up]] = 0
                given_up[:] = False
            active = active[~given_up & (targets[active] - count[active] >= 1)]
        raise ValueError(f"masks: {MOST_DRAWS} blocks of area >= {self.min_area} did not mask {targets[active[0]]:g} of a grid "
                         f"of {self.grid}; lower the target or min_area, or set on_fail to 'stop'")


@dataclass(frozen=True, kw_only=True)
class Block(Blocks):
    """`target` positions of grid (rows, columns), by `Blocks`."""

    generator: ClassVar[str] = "block"

    target: int | None = fields.whole()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid is not None and self.target is not None and self.target > self.grid[0] * self.grid[1]:
            raise ValueError(f"masks.target needs at most the grid's {self.grid[0] * self.grid[1]} positions, got {self.target}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.target is not None
        return {"mask": self.blocks(chance, np.full(len(chance), self.target, np.float64), str(self.scope))}, size_hw
