"""Masks of the presets for 32 px: 8 x 8 patches, with the shares that the published ones have of theirs."""

from __future__ import annotations

import numpy as np
import pytest
import viewmill as vm

N = 1000


def params(name: str, n: int = N) -> dict[str, np.ndarray]:
    drawn = vm.draw(vm.recipe(name), 0, 0, np.arange(n), np.full((n, 2), 32), position=np.arange(n), length=n)
    return drawn["global/0"]["masks"]


@pytest.mark.parametrize(("name", "masked", "cell"), [
    ("mae_cifar", 48, 1), ("mae_cifar_cells", 48, 2), ("mae_cifar_blocks", 48, 1), ("simmim_cifar", 40, 2)])
def test_each_image_has_as_many_masked_patches(name: str, masked: int, cell: int) -> None:
    """MAE hides 0.75 of 64; SimMIM 0.6 of 16 cells, rounded up to 10, of 2 x 2 patches each."""
    mask = params(name)["mask"]
    assert mask.shape == (N, 8, 8) and (mask.sum((1, 2)) == masked).all()
    cells = mask.reshape(N, 8 // cell, cell, 8 // cell, cell)
    assert (cells.all((2, 4)) | ~cells.any((2, 4))).all()
    assert mask.mean(0).min() > 0 and mask.mean(0).max() < 1


def test_data2vec_masks_the_published_share_by_blocks_that_stop_short() -> None:
    """120 of 196 are 0.612, 39 of 64 are 0.609; and 16 of 196 are 0.082, 5 of 64 are 0.078."""
    counts = params("data2vec_cifar")["mask"].sum((1, 2))
    assert counts.max() == 39 and 37 < counts.mean() < 39 and counts.min() >= 5


def test_ijepa_has_four_blocks_of_the_published_shares_everywhere_and_a_context_beside_them() -> None:
    """A block: 0.15 to 0.2 of 64, so 9 to 12 patches before rounding, higher than wide as it grows: 3 x 3 to 4 x 3."""
    drawn = params("ijepa_cifar")
    seen, blocks = ~drawn["mask"], drawn["targets"]
    assert blocks.shape == (N, 4, 8, 8) and not (seen[:, None] & blocks).any()
    sizes = set(zip(blocks.any(-1).sum(-1).ravel().tolist(), blocks.any(-2).sum(-1).ravel().tolist(), strict=True))
    assert sizes <= {(3, 3), (3, 4), (4, 3)} and sizes
    assert seen.any(0).all() and blocks.any((0, 1)).all()  # the last row and column too
    assert seen.sum((1, 2)).min() >= 3 and 20 < seen.sum((1, 2)).mean() < 45
