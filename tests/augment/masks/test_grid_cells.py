"""SimMIM's mask: whole cells of 32 px, coarser than patches."""

from __future__ import annotations

import numpy as np
import pytest
from viewmill.augment.masks import GridCells

from .draws import drawn


@pytest.mark.parametrize(("grid", "cells", "masked", "tokens"), [((48, 48), 6, 22, 1408), ((14, 14), 7, 30, 120)])
def test_cells_are_whole_and_counted(grid: tuple[int, int], cells: int, masked: int, tokens: int) -> None:
    """192 px of 4 px patches: 22 of 36 cells, 1408 of 2304 tokens; 224 px of 16 px patches: 30 of 49, 120 of 196."""
    mask = drawn(GridCells(grid=grid, cells=(cells, cells), masked_cells=masked), 100)
    assert mask.shape == (100, *grid) and (mask.sum((1, 2)) == tokens).all()
    each = mask.reshape(100, cells, grid[0] // cells, cells, grid[1] // cells)
    assert (each.all((2, 4)) | ~each.any((2, 4))).all()


def test_cells_are_masked_alike_and_by_permutation() -> None:
    n = 4000
    cells = drawn(GridCells(grid=(6, 6), cells=(6, 6), masked_cells=22), n).reshape(n, 36)
    assert np.abs(cells.mean(0) - 22 / 36).max() < 4.2 * (22 / 36 * 14 / 36 / n) ** 0.5
    correlation = np.corrcoef(cells.T.astype(float))[~np.eye(36, dtype=bool)]
    assert abs(correlation.mean() + 1 / 35) < 1e-3


def test_a_grid_may_be_longer_one_way() -> None:
    mask = drawn(GridCells(grid=(2, 6), cells=(1, 2), masked_cells=1), 50)
    assert all(m.tolist() in ([[True] * 3 + [False] * 3] * 2, [[False] * 3 + [True] * 3] * 2) for m in mask)


def test_all_cells_may_be_masked() -> None:
    assert drawn(GridCells(grid=(4, 4), cells=(2, 2), masked_cells=4), 9).all()


def test_cells_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of cells \(2, 2\), got \(7, 7\)"):
        GridCells(grid=(7, 7), cells=(2, 2), masked_cells=1)
    with pytest.raises(ValueError, match="at most 4 cells, got 5"):
        GridCells(grid=(8, 8), cells=(2, 2), masked_cells=5)
