"""Lloyd's k-means: by hand, beside scikit-learn's, empty groups, and parts that know of each other by sums alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from viewmill.models import lloyd
from viewmill.models.distributed import add_up
from viewmill.models.lloyd import kmeans

from ..world import World


def rows_of(count: int, dim: int, seed: int = 0) -> Tensor:
    x = np.random.default_rng(seed).normal(size=(count, dim))
    return torch.from_numpy(x / np.linalg.norm(x, axis=1, keepdims=True)).float()


def test_on_a_line_by_hand() -> None:
    # From 0.2 and 0.5: 0 0.1 0.3 | 0.4 0.8. Means 0.1333 and 0.6: 0.3 stays, 0.4 is 0.2667 from the one and 0.2 from the other.
    rows = torch.tensor([[0.0], [0.1], [0.3], [0.4], [0.8]])
    centroids, nearest = kmeans(rows, torch.tensor([[0.2], [0.5]]), iterations=1)
    assert nearest.tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_allclose(centroids.numpy(), [[0.4 / 3], [0.6]], atol=1e-7)
    assert kmeans(rows, torch.tensor([[0.0], [0.9]]), iterations=0)[1].tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_it_is_scikit_learns(seed: int) -> None:
    from sklearn.cluster import KMeans

    rows, first = rows_of(300, 6, seed), rows_of(300, 6, seed)[:7]
    expected = KMeans(7, init=first.double().numpy(), n_init=1, max_iter=100, tol=0, algorithm="lloyd").fit(rows.double().numpy())
    centroids, nearest = kmeans(rows, first, iterations=100)
    np.testing.assert_allclose(centroids.numpy(), expected.cluster_centers_, atol=1e-5)
    assert nearest.tolist() == expected.labels_.tolist()


def test_an_empty_group_takes_half_of_the_largest() -> None:
    # 0.1 0.2 0.3 0.5 are nearest to 0.25, 0.9 to 0.9, none to -1 and -2. Of four rows the first empty one gets two beside 0.275,
    # then the largest is again the first of two groups of two, which stands where it was moved to.
    rows = torch.tensor([[0.1, 0.0], [0.2, 0.0], [0.3, 0.0], [0.5, 0.0], [0.9, 0.5]])
    first = torch.tensor([[-1.0, 0.0], [0.25, 0.0], [0.9, 0.5], [-2.0, 0.0]])
    centroids, nearest = kmeans(rows, first, iterations=1)
    up, down = 1 + 1 / 1024, 1 - 1 / 1024
    np.testing.assert_allclose(centroids[:, 0].numpy(), [0.275 * up * down, 0.275 * down, 0.9, 0.275 * up * up], rtol=1e-6)
    assert float(centroids[2, 1]) == 0.5 and sorted(set(nearest.tolist())) == [1, 2, 3]
    several, nearest = kmeans(rows, first, iterations=5)
    assert sorted(set(nearest.tolist())) == [0, 1, 2, 3] and len({tuple(c) for c in several.tolist()}) == 4
    # Along the second value it is the other way round.
    flat = torch.tensor([[0.4, 0.4], [0.2, 0.2]])
    moved, _ = kmeans(flat, torch.tensor([[0.0, 0.0], [-1.0, -1.0]]), iterations=1)
    np.testing.assert_allclose(moved.numpy(), [[0.3 * down, 0.3 * up], [0.3 * up, 0.3 * down]], rtol=1e-6)


def test_no_block_and_no_order_changes_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, first = rows_of(60, 5), rows_of(4, 5, 9)
    centroids, nearest = kmeans(rows, first, iterations=6)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(lloyd, "CELLS", 28)  # seven rows at a time
    again, moved = kmeans(rows[order], first, iterations=6)
    assert torch.equal(again, centroids) and torch.equal(moved, nearest[order])


def part_of_rank(rows: Tensor, first: Tensor, cuts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    own = rows[cuts[dist.get_rank()] : cuts[dist.get_rank() + 1]]
    return kmeans(own, first, iterations=8, add_up=add_up)


@pytest.mark.parametrize("cuts", [(0, 10, 50), (0, 0, 17, 50)])
def test_ranks_find_what_one_process_finds_to_the_bit(world: World, cuts: tuple[int, ...]) -> None:
    rows, first = rows_of(50, 4), torch.cat([rows_of(5, 4, 3), torch.full((1, 4), 5.0)])  # of which the last begins empty
    centroids, nearest = kmeans(rows, first, iterations=8)
    told = world(len(cuts) - 1, part_of_rank, rows, first, cuts)
    assert all(torch.equal(of, centroids) for of, _ in told)
    assert torch.equal(torch.cat([part for _, part in told]), nearest)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs rows \(n, D\) and centroids \(K, D\), got \(3, 2\) and \(1, 3\)"):
        kmeans(torch.zeros(3, 2), torch.zeros(1, 3))
