"""Regions of enlarged noise. Source: Context Encoders, arXiv:1604.07379."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from .mask import Mask, filled, one_size

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams

MOST_WINDOWS = 128
"""Then the one nearest to `accept` is taken. Of the published field 23 % of windows are accepted: 128 fail once in 10**14."""


@dataclass(frozen=True, kw_only=True)
class NoiseField(Mask):
    """Uniform noise of noise_px x noise_px cells, enlarged to canvas_px and masked below threshold; a window of it as large
    as the view at a random place, drawn again until the masked fraction of its pixels lies in `accept`.

    Only the cells under the window are drawn, afresh for each window: the canvas itself, 10 000 px wide, is never made.
    Parameters: mask (N, height, width) bool, of the view's pixels, True where filled.
    """

    generator: ClassVar[str] = "noise-field"
    fills: ClassVar[bool] = True

    noise_px: int | None = fields.whole()
    canvas_px: int | None = fields.whole()
    upsample: str | None = fields.one_of("bicubic", "bilinear", "bicubic")
    threshold: float | None = fields.fraction()
    accept: tuple[float, float] | None = fields.area()
    fill: tuple[float, ...] | None = fields.vector()
    fill_scale: str | None = fields.one_of(None, "uint8", "unit")
    scope: str | None = fields.scope("batch")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_px is not None and self.canvas_px is not None and self.canvas_px < self.noise_px:
            raise ValueError(f"masks.canvas_px needs at least noise_px = {self.noise_px}, got {self.canvas_px}")

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.canvas_px is not None and self.accept is not None and self.threshold is not None
        height, width = one_size(size_hw)
        if max(height, width) > self.canvas_px:
            raise ValueError(f"masks.canvas_px needs at least the view's {max(height, width)} px, got {self.canvas_px}")
        first, which = chance.alike(str(self.scope))
        mask = np.zeros((len(first), height, width), bool)
        error = np.full(len(first), np.inf)
        active = np.arange(len(first))
        for window in range(MOST_WINDOWS):
            if not len(active):
                break
            candidate = self._field(chance.rows(first[active]), window, height, width) < self.threshold
            fraction = candidate.sum((1, 2)) / (height * width)
            off = np.maximum(np.maximum(self.accept[0] - fraction, fraction - self.accept[1]), 0.0)
            better = off < error[active]
            mask[active[better]], error[active[better]] = candidate[better], off[better]
            active = active[error[active] > 0]
        return {"mask": mask[which]}, size_hw

    def _field(self, chance: Chance, window: int, height: int, width: int) -> np.ndarray:
        """(N, height, width) float64: the enlarged noise under a window of the canvas, placed at random."""
        assert self.noise_px is not None and self.canvas_px is not None
        u = chance.uniforms(2, scope=str(self.scope), part="place", call=window)
        top, left = laws.integer(u[:, 0], 0, self.canvas_px - height + 1), laws.integer(u[:, 1], 0, self.canvas_px - width + 1)
        (rows, row_weights), (columns, column_weights) = self._taps(top, height), self._taps(left, width)
        deep, wide = (int(np.ceil(side * self.noise_px / self.canvas_px)) + rows.shape[2] for side in (height, width))
        calls = -(-deep * wide // 4)
        cells = chance.uniforms(deep * wide, scope=str(self.scope), part="cells", call=window * calls).reshape(-1, deep, wide)
        tall = _enlarged(cells, rows - rows[:, :1, :1], row_weights)
        return _enlarged(tall.swapaxes(1, 2), columns - columns[:, :1, :1], column_weights).swapaxes(1, 2)

    def _taps(self, start: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """For `count` canvas pixels from start (N,): cells (N, count, taps) int64 and their weights, float64.

        Pixel centres meet as in Pillow; beyond the noise its outermost cell goes on. Bicubic: a = -0.5.
        """
        assert self.noise_px is not None and self.canvas_px is not None
        at = (start[:, None] + np.arange(count) + 0.5) * self.noise_px / self.canvas_px - 0.5
        cell = np.floor(at)
        t = at - cell
        weights = [1 - t, t] if self.upsample == "bilinear" else [_far(1 + t), _near(t), _near(1 - t), _far(2 - t)]
        before = len(weights) // 2 - 1
        cells = np.stack([np.clip(cell + k - before, 0, self.noise_px - 1) for k in range(len(weights))], -1)
        return cells.astype(np.int64), np.stack(weights, -1)

    def caption(self, params: OpParams, row: int) -> str:
        return f"{params['mask'][row].mean():.0%} of the pixels masked"

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        assert not isinstance(images, list) and self.fill and self.fill_scale
        return filled(images, torch.as_tensor(params["mask"], device=images.device)[:, None], self.fill, self.fill_scale)


def _enlarged(values: np.ndarray, cells: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """values (N, K, M), cells and weights (N, count, taps) -> (N, count, M).

    Sums in one fixed order, no matrix product: at the threshold the last bit decides.
    """
    sample = np.arange(len(values))[:, None]
    return reduce(np.add, (values[sample, cells[:, :, k]] * weights[:, :, k, None] for k in range(cells.shape[2])))


def _near(d: np.ndarray) -> np.ndarray:
    """Keys' cubic at a distance d <= 1, a = -0.5."""
    weight: np.ndarray = (1.5 * d - 2.5) * d * d + 1
    return weight


def _far(d: np.ndarray) -> np.ndarray:
    """Keys' cubic at a distance 1 <= d <= 2, a = -0.5."""
    weight: np.ndarray = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return weight
