"""k-means, by cosine and by distance: cases by hand, independent ones in NumPy, parts that know of each other by sums alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from viewmill.models import kmeans
from viewmill.models.distributed import add_up
from viewmill.models.kmeans import euclidean_kmeans, spherical_kmeans

from ..world import World


def at(*degrees: float) -> Tensor:
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], 1).float()


def directions(count: int, dim: int, seed: int = 0) -> Tensor:
    x = np.random.default_rng(seed).normal(size=(count, dim))
    return torch.from_numpy(x / np.linalg.norm(x, axis=1, keepdims=True)).float()


def in_numpy(rows: np.ndarray, centroids: np.ndarray, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """The authors' loop, in float64: E step, then the mean of each group that has members, then all to length 1."""
    for iteration in range(iterations + 1):
        group = (rows @ centroids.T).argmax(1)
        if iteration == iterations:
            break
        for k in range(len(centroids)):
            if (group == k).any():
                centroids[k] = rows[group == k].mean(0)
        centroids = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
    return centroids, group


def test_on_a_circle_by_hand() -> None:
    # From 50 and 170 degrees: 0 10 100 and 180 190 (100 is 50 from the one, 70 from the other). Three unit vectors at 0, 10, 100
    # sum to (1.811, 1.158), at 32.6 degrees; the other two to 185. Then 100 is nearer to 32.6 still, and nothing moves.
    rows = at(0, 10, 100, 180, 190)
    centroids, group = spherical_kmeans(rows, at(50, 170), iterations=1)
    assert group.tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_allclose(centroids.numpy(), [[0.84242, 0.53883], [-0.99619, -0.08716]], atol=1e-5)
    again, same = spherical_kmeans(rows, centroids, iterations=5)
    assert same.tolist() == group.tolist()
    torch.testing.assert_close(again, centroids)


def test_the_groups_are_those_of_the_last_centroids_and_without_iterations_of_the_first() -> None:
    rows, first = at(0, 60, 70), at(-40, 45)
    assert spherical_kmeans(rows, first, iterations=0)[1].tolist() == [0, 1, 1]
    # From -20 and 40 degrees: 0 and 5 join the first, 50 the second; after one step 5 is nearer still to the first, at 2.5.
    assert spherical_kmeans(at(0, 5, 12, 50), at(-20, 40), iterations=1)[1].tolist() == [0, 0, 0, 1]


def test_a_group_without_rows_or_whose_rows_cancel_out_keeps_its_centroid() -> None:
    first = at(0, 120, 240)
    centroids, group = spherical_kmeans(at(10, 20, 130), first, iterations=3)
    assert group.tolist() == [0, 0, 1] and torch.equal(centroids[2], first[2])
    opposite = torch.tensor([[0.5, 0.0], [-0.5, 0.0]])
    centroids, _ = spherical_kmeans(opposite, torch.tensor([[0.0, 1.0]]), iterations=3)
    assert centroids.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("seed", range(4))
def test_it_is_an_independent_k_means(seed: int) -> None:
    rows, first = directions(200, 8, seed), directions(9, 8, 100 + seed)
    expected, groups = in_numpy(rows.double().numpy(), first.double().numpy(), 10)
    centroids, group = spherical_kmeans(rows, first)
    assert group.tolist() == groups.tolist() and len(set(groups)) > 5
    np.testing.assert_allclose(centroids.numpy(), expected, atol=1e-6)


def test_rows_of_zeros_move_nothing() -> None:
    rows, first = directions(50, 4), directions(5, 4, 1)
    holes = torch.cat([torch.zeros(7, 4), rows, torch.zeros(3, 4)])
    centroids, group = spherical_kmeans(rows, first)
    again, with_holes = spherical_kmeans(holes, first)
    assert torch.equal(again, centroids) and torch.equal(with_holes[7:57], group)


def test_neither_blocks_nor_order_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, first = directions(300, 8), directions(6, 8, 1)
    centroids, group = spherical_kmeans(rows, first)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(kmeans, "CELLS", 6 * 7)  # 7 rows at a time
    again, shuffled = spherical_kmeans(rows[order], first)
    assert torch.equal(again, centroids) and torch.equal(shuffled, group[order])


def part_of_a_clustering(parts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    start = sum(parts[: dist.get_rank()])
    return spherical_kmeans(directions(sum(parts), 8)[start : start + parts[dist.get_rank()]], directions(5, 8, 1), add_up=add_up)


@pytest.mark.parametrize("parts", [(30, 50), (20, 0, 60)])
def test_ranks_together_have_the_groups_of_one_to_the_bit(world: World, parts: tuple[int, ...]) -> None:
    centroids, group = spherical_kmeans(directions(80, 8), directions(5, 8, 1))
    told = world(len(parts), part_of_a_clustering, parts)
    assert all(torch.equal(of_rank, centroids) for of_rank, _ in told)
    assert torch.equal(torch.cat([of_rank for _, of_rank in told]), group)


@pytest.mark.parametrize(("rows", "centroids"), [((4, 3), (2, 2)), ((4, 3), (0, 3)), ((4,), (2, 3))])
def test_what_does_not_fit_is_refused(rows: tuple[int, ...], centroids: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"k-means needs rows \(n, D\) and centroids \(K, D\), got "):
        spherical_kmeans(torch.zeros(rows), torch.zeros(centroids))


def nearest(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    found: np.ndarray = ((rows[:, None] - centroids[None]) ** 2).sum(2).argmin(1)
    return found


def test_on_a_line_by_distance() -> None:
    # {0, 1, 5} and {9}, so 2 and 9; {0, 1, 5} stays: 5 is 3 from 2 and 4 from 9.
    rows = torch.tensor([[0.0], [1.0], [5.0], [9.0]])
    centroids, group = euclidean_kmeans(rows, torch.tensor([[1.0], [9.5]]), iterations=5)
    assert centroids.tolist() == [[2.0], [9.0]] and group.tolist() == [0, 0, 0, 1]


def test_lloyds_loop_in_numpy_comes_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "CELLS", 7 * 16)  # rows by 16 at a time
    x = np.random.default_rng(0).normal(size=(200, 5)) + 1000.0  # far from the origin, where float32 has few digits left
    rows, first = torch.from_numpy(x).float(), torch.from_numpy(x[:7]).float()
    expected = x[:7].copy()
    for _ in range(4):
        group = nearest(x, expected)
        expected = np.stack([x[group == k].mean(0) for k in range(7)])
    centroids, group = euclidean_kmeans(rows, first, iterations=4)
    np.testing.assert_allclose(centroids.numpy(), expected, atol=1e-2)
    assert (torch.from_numpy(nearest(x, expected)) == group).float().mean() > 0.99


def test_a_cluster_that_nobody_joins_begins_again_at_what_lies_farthest() -> None:
    rows = torch.tensor([[0.0], [0.5], [1.0], [30.0]])
    centroids, group = euclidean_kmeans(rows, torch.tensor([[0.5], [0.5]]), iterations=2)  # the second is never the nearer
    assert centroids.tolist() == [[0.5], [30.0]] and group.tolist() == [0, 0, 0, 1]
    with pytest.raises(ValueError, match=r"at most as many centroids \(K, D\), got \(4, 1\) and \(5, 1\)"):
        euclidean_kmeans(rows, torch.zeros(5, 1))
