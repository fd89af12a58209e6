"""Target blocks and a context without them. Source: I-JEPA, arXiv:2301.08243."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from .mask import Mask

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import OpParams

_Size = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class MultiBlock(Mask):
    """`targets` blocks of one size and one context block minus them. Scales are fractions of grid's positions, aspects
    height / width, both uniform; tied_size_aspect: by the same number, so that large blocks are tall ones. size_scope is the
    scope of the sizes, scope that of the places; without last_row_and_column no block reaches those. The context block is
    placed again while it keeps fewer than min_context positions; after drop_after failures, and each drop_after more, the
    last target that it still had to avoid is let go. truncate: what the method does to the index lists, by `batch_minimum`.

    Parameters: mask (N, rows, columns) bool, True where the context encoder does not see; targets (N, targets, rows,
    columns) bool, True in the target.
    """

    generator: ClassVar[str] = "multi-block"

    grid: tuple[int, int] | None = fields.grid()
    targets: int | None = fields.whole(4)
    target_scale: tuple[float, float] | None = fields.area((0.15, 0.2))
    target_aspect: tuple[float, float] | None = fields.ratio((0.75, 1.5), "height / width")
    context_scale: tuple[float, float] | None = fields.area((0.85, 1.0))
    context_aspect: tuple[float, float] | None = fields.ratio((1.0, 1.0), "height / width")
    tied_size_aspect: bool | None = fields.flag(True)
    size_scope: str | None = fields.scope("batch")
    last_row_and_column: bool | None = fields.flag(False)
    min_context: int | None = fields.whole(11)
    drop_after: int | None = fields.whole(20)
    truncate: str | None = fields.one_of("batch-minimum", "batch-minimum")
    scope: str | None = fields.scope()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid is None:
            return
        rows, columns = self._reach
        if min(rows, columns) < 1:
            raise ValueError(f"masks.grid needs 2 rows and 2 columns where the last are never covered, got {self.grid}")
        if self.min_context is not None and self.min_context > rows * columns:
            raise ValueError(f"masks.min_context needs at most the {rows * columns} positions that blocks reach, "
                             f"got {self.min_context}")

    @property
    def _reach(self) -> tuple[int, int]:
        """Rows and columns that blocks may cover."""
        assert self.grid is not None
        return self.grid if self.last_row_and_column else (self.grid[0] - 1, self.grid[1] - 1)

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.grid is not None and self.targets is not None
        assert self.target_scale and self.target_aspect and self.context_scale and self.context_aspect
        u = chance.uniforms(4, scope=str(self.size_scope), part="size")
        size = self._size(u[:, 0], u[:, 2], self.target_scale, self.target_aspect)
        places = chance.uniforms(2 * self.targets, scope=str(self.scope), part="targets").reshape(len(chance), self.targets, 2)
        targets = np.stack([self._block(places[:, t], size) for t in range(self.targets)], 1)
        context = self._context(chance, targets, self._size(u[:, 1], u[:, 3], self.context_scale, self.context_aspect))
        return {"mask": ~context, "targets": targets}, size_hw

    def _size(self, u: np.ndarray, v: np.ndarray, scale: tuple[float, float], aspect: tuple[float, float]) -> _Size:
        """Heights and widths (N,) of blocks; u sets the scale, and the aspect where tied, else v."""
        assert self.grid is not None
        area = np.floor(self.grid[0] * self.grid[1] * laws.uniform(u, *scale))
        ratio = laws.uniform(u if self.tied_size_aspect else v, *aspect)
        h, w = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        rows, columns = self._reach
        return np.clip(h, 1, rows).astype(np.int64), np.clip(w, 1, columns).astype(np.int64)

    def _block(self, u: np.ndarray, size: _Size) -> np.ndarray:
        """(N, rows, columns) bool: blocks of a size, u (N, 2) their places."""
        assert self.grid is not None
        (h, w), (rows, columns) = size, self._reach
        top, left = laws.integer(u[:, 0], 0, rows - h + 1), laws.integer(u[:, 1], 0, columns - w + 1)
        y, x = np.arange(self.grid[0])[:, None], np.arange(self.grid[1])
        top, left, bottom, right = (v[:, None, None] for v in (top, left, top + h, left + w))
        inside: np.ndarray = (y >= top) & (y < bottom) & (x >= left) & (x < right)
        return inside

    def _context(self, chance: Chance, targets: np.ndarray, size: _Size) -> np.ndarray:
        """(N, rows, columns) bool. All samples take their n-th try together."""
        assert self.drop_after is not None and self.min_context is not None
        count = targets.shape[1]
        context = np.zeros_like(targets[:, 0])
        active = np.arange(len(targets))
        for call in range(self.drop_after * count + 1):
            u = chance.rows(active).uniforms(2, scope=str(self.scope), part="context", call=call)
            avoided = targets[active, :count - call // self.drop_after].any(1)
            block = self._block(u, (size[0][active], size[1][active])) & ~avoided
            fits = block.sum((1, 2)) >= self.min_context
            context[active[fits]] = block[fits]
            active = active[~fits]
            if not len(active):
                return context
        h, w = size[0][active[0]], size[1][active[0]]
        raise ValueError(f"masks: a context block of {h} x {w} positions cannot keep min_context={self.min_context}; "
                         "raise context_scale or lower min_context")


def batch_minimum(chosen: Tensor) -> Tensor:
    """Raster indices of the positions chosen in each mask, ascending, cut to the shortest list of the batch: the K lowest.

    chosen (N, rows, columns) bool, as ~mask -> (N, K) int64; (N, T, rows, columns), as targets -> (N, T, K), one K for all.
    """
    flat = chosen.flatten(-2)
    shortest = int(flat.sum(-1).min())
    return flat.logical_not().byte().argsort(dim=-1, stable=True)[..., :shortest]
