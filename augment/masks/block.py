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
class Block(Mask):
    """Blocks until `target` positions of grid are masked. A block's area is uniform between min_area and what is left
    (at most max_area; "target": the target), its aspect (height / width) log-uniform; it spans no full side and must
    mask between one and all of what is left. After `attempts` failures in a row: on_fail "stop" with fewer masked, or
    "retry" until the target is met exactly.
    """

    generator: ClassVar[str] = "block"
    optional: ClassVar[frozenset[str]] = frozenset({"ratio"})

    grid: tuple[int, int] | None = fields.grid()
    target: int | None = fields.whole()
    min_area: int | None = fields.whole()
    max_area: int | str | None = fields.target("target")
    aspect: tuple[float, float] | None = fields.ratio((0.3, 1 / 0.3))
    attempts: int | None = fields.whole(10)
    on_fail: str | None = fields.one_of("stop", "stop", "retry")
    scope: str | None = fields.scope()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid is not None and self.target is not None and self.target > self.grid[0] * self.grid[1]:
            raise ValueError(f"masks.target needs at most the grid's {self.grid[0] * self.grid[1]} positions, got {self.target}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.grid is not None and self.target is not None
        targets = np.full(len(chance), self.target, np.float64)
        return {"mask": blocks(self, chance, targets)}, size_hw


def blocks(op: Block, chance: Chance, targets: np.ndarray) -> np.ndarray:
    """(N, rows, columns) bool. targets (N,) float64: positions to mask, which need not be whole numbers.

    All samples take their n-th draw together, so the numbers of a sample do not depend on the others.
    """
    assert op.grid is not None and op.min_area is not None and op.aspect is not None and op.attempts is not None
    rows, columns = op.grid
    mask = np.zeros((len(targets), rows, columns), bool)
    count = np.zeros(len(targets))
    failures = np.zeros(len(targets), np.int64)
    active = np.flatnonzero(targets >= 1)
    y, x = np.arange(rows)[None, :, None], np.arange(columns)[None, None, :]
    for call in range(MOST_DRAWS):
        if not len(active):
            return mask
        u = chance.rows(active).uniforms(4, scope=str(op.scope), call=call)
        most = targets[active] - count[active]
        if isinstance(op.max_area, int):
            most = np.minimum(most, op.max_area)
        area = op.min_area + u[:, 0] * (most - op.min_area)
        aspect = laws.log_uniform(u[:, 1], *op.aspect)
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
        given_up = failures[active] >= op.attempts
        if op.on_fail == "retry":
            failures[active[given_up]] = 0
            given_up[:] = False
        active = active[~given_up & (targets[active] - count[active] >= 1)]
    raise ValueError(f"masks: {MOST_DRAWS} blocks of area >= {op.min_area} did not mask {op.target} of a grid of {op.grid}; "
                     "lower target or min_area, or set on_fail to 'stop'")
