"""I-JEPA's targets and context: sizes tied and shared, places each image's own, the far border never reached."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from viewmill.augment.masks import MultiBlock
from viewmill.augment.masks.multi_block import batch_minimum

from .draws import params_of

N = 2000


def drawn(n: int = N, **fields: Any) -> tuple[np.ndarray, np.ndarray]:
    """Context (n, rows, columns), True where seen, and targets (n, T, rows, columns); sizes of each sample's own, so that one
    draw shows them all."""
    params = params_of(MultiBlock(**{"grid": (16, 16), "size_scope": "sample", **fields}), n)
    return ~params["mask"], params["targets"]


def sides(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return blocks.any(-1).sum(-1), blocks.any(-2).sum(-1)


def test_targets_are_blocks_of_the_published_sizes() -> None:
    """256 positions: area int(256 (0.15 + 0.05 u)), height / width 0.75 + 0.75 u with the same u: 5 x 7 to 9 x 6, mean 44."""
    _, targets = drawn()
    h, w = sides(targets)
    area = targets.sum((2, 3))
    assert (area == h * w).all() and (h == h[:, :1]).all() and (w == w[:, :1]).all()
    expected = set()
    for u in np.linspace(0, 1, 1001):
        positions, aspect = int(256 * (0.15 + 0.05 * u)), 0.75 + 0.75 * u
        expected.add((round((positions * aspect) ** 0.5), round((positions / aspect) ** 0.5)))
    assert set(zip(h[:, 0].tolist(), w[:, 0].tolist(), strict=True)) == expected
    assert min(expected) == (5, 7) and max(expected) == (9, 6)
    assert abs(area.mean() - 44) < 0.5 + 4 * area[:, 0].std() / N**0.5


def test_the_context_is_a_block_less_the_targets() -> None:
    """110 positions on average; every one inside one square block and outside all targets."""
    context, targets = drawn()
    count = context.sum((1, 2))
    assert abs(count.mean() - 110) < 0.5 + 4 * count.std() / N**0.5 and count.min() >= 11
    assert not (context[:, None] & targets).any()
    h, w = sides(context)
    assert h.max() == 15 and w.max() == 15


def test_the_last_row_and_column_are_never_reached_unless_stated() -> None:
    for last, reached in ((False, 15), (True, 16)):
        context, targets = drawn(500, last_row_and_column=last)
        for covered in (context.any(0), targets.any((0, 1))):
            assert covered[:reached, :reached].all() and not covered[reached:].any() and not covered[:, reached:].any()


def test_places_are_uniform_and_each_targets_own() -> None:
    """Blocks of 2 x 3 on a grid of 5 x 7: top one of 0..2, left one of 0..3, exclusive of the last row and column."""
    _, targets = drawn(grid=(5, 7), targets=2, target_scale=(6.5 / 35, 6.5 / 35), target_aspect=(2 / 3, 2 / 3), min_context=1,
                       context_scale=(1.0, 1.0))
    top, left = targets.any(3).argmax(2), targets.any(2).argmax(2)
    counts = np.bincount((top * 4 + left).ravel(), minlength=12)
    assert len(counts) == 12 and np.abs(counts - 2 * N / 12).max() < 4.2 * (2 * N / 12 * 11 / 12) ** 0.5
    assert abs(((top[:, 0] == top[:, 1]) & (left[:, 0] == left[:, 1])).mean() - 1 / 12) < 4 * (1 / 12 * 11 / 12 / N) ** 0.5


def test_one_size_serves_a_block_of_positions_and_all_views() -> None:
    op = MultiBlock(grid=(16, 16))
    views = [params_of(op, 64, block=8, ordinal=v, siblings=2)["targets"] for v in (0, 1)]
    h, w = (np.stack(side) for side in zip(*(sides(t) for t in views), strict=True))
    for side in (h, w):
        assert (side == side[:1, :, :1]).all()
        blocks = side[0, :, 0].reshape(8, 8)
        assert (blocks == blocks[:, :1]).all() and len(set(blocks[:, 0].tolist())) > 1
    assert not np.array_equal(views[0], views[1])


def test_free_aspects_do_not_follow_the_scale() -> None:
    def correlation(tied: bool) -> float:
        h, w = sides(drawn(grid=(40, 40), tied_size_aspect=tied)[1][:, 0])
        return float(np.corrcoef(h * w, h / w)[0, 1])

    assert correlation(tied=True) > 0.95 and abs(correlation(tied=False)) < 4.2 * N**-0.5 + 0.02


def test_the_contexts_size_has_a_number_of_its_own() -> None:
    """One small target on a large grid, so that the context shows its own sides."""
    context, targets = drawn(grid=(40, 40), targets=1, target_scale=(0.01, 0.05), context_scale=(0.3, 0.8))
    size = sides(context)[0] * sides(context)[1]
    assert 0.3 * 1600 * 0.9 < size.min() < size.max() < 0.8 * 1600 * 1.1 and size.std() > 150
    assert abs(np.corrcoef(size, targets.sum((1, 2, 3)))[0, 1]) < 4.2 * N**-0.5


def test_a_context_too_small_is_placed_again_and_then_may_cover_targets_the_last_first() -> None:
    """A whole context of 4 x 4 between 7 targets is hard to place: constraints fall one by one, so that it still avoids the
    first targets and overlaps later ones. With a target that fills all that blocks reach it never avoids that one."""
    crowded: dict[str, Any] = {"grid": (9, 9), "targets": 7, "target_scale": (0.15, 0.15), "context_scale": (0.2, 0.2)}
    context, targets = drawn(1000, **crowded, min_context=16, drop_after=10)
    assert (context.sum((1, 2)) == 16).all()
    overlaps = (context[:, None] & targets).any((2, 3)).mean(0)
    assert (np.diff(overlaps) > -0.09).all() and overlaps[0] + 0.15 < overlaps[1] < overlaps[-1] - 0.1
    patient, targets = drawn(1000, **{**crowded, "targets": 2}, min_context=9, drop_after=1000)
    assert patient.sum((1, 2)).min() >= 9 and not (patient[:, None] & targets).any()
    full, targets = drawn(20, grid=(9, 9), targets=2, target_scale=(1.0, 1.0), target_aspect=(1.0, 1.0))
    assert targets[:, :, :8, :8].all() and full[:, :8, :8].all()


def test_lists_are_cut_to_the_shortest_by_the_lowest_raster_indices() -> None:
    first, second = torch.zeros(2, 2, 3, dtype=torch.bool)
    first[0, 1] = first[1, 0] = first[1, 2] = True
    second[0, 2] = second[1, 1] = True
    assert batch_minimum(torch.stack([first, second])).tolist() == [[1, 3], [2, 4]]
    assert batch_minimum(torch.stack([first, second])[None]).tolist() == [[[1, 3], [2, 4]]]
    assert batch_minimum(torch.stack([first, torch.zeros_like(first)])).shape == (2, 0)


def test_a_batch_of_128_keeps_about_70_of_the_context() -> None:
    """The shortest of 128 contexts, which varies with the block's sizes; targets have one size and keep theirs."""
    masks = [params_of(MultiBlock(grid=(16, 16)), 128, seed=seed)["mask"] for seed in range(60)]
    shortest = np.array([(~mask).sum((1, 2)).min() for mask in masks])
    assert abs(shortest.mean() - 70) < 1 + 4 * shortest.std() / 60**0.5
    index = batch_minimum(~torch.from_numpy(masks[0]))
    assert index.shape == (128, shortest[0]) and (index.diff(dim=1) > 0).all()
    targets = params_of(MultiBlock(grid=(16, 16)), 128)["targets"]
    assert batch_minimum(torch.from_numpy(targets)).shape == (128, 4, targets[0, 0].sum())


@pytest.mark.parametrize(("fields", "says"), [
    ({"grid": (1, 5)}, r"2 rows and 2 columns where the last are never covered, got \(1, 5\)"),
    ({"grid": (3, 4)}, "at most the 6 positions that blocks reach, got 11"),
])
def test_impossible_grids_are_refused_when_made(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        MultiBlock(**fields)


def test_a_context_out_of_reach_is_named() -> None:
    with pytest.raises(ValueError, match=r"a context block of 3 x 3 positions cannot keep min_context=11"):
        drawn(2, context_scale=(0.04, 0.04))
