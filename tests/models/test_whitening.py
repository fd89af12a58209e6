"""Whitening: no covariance is left, the directions are scikit-learn's, and ranks agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from viewmill.models.distributed import add_up
from viewmill.models.whitening import whitening

from ..world import World


def features(count: int = 200, dim: int = 6) -> Tensor:
    rng = np.random.default_rng(0)
    scale = np.array([5.0, 3.0, 2.0, 1.0, 0.5, 0.2])[:dim]
    return torch.from_numpy(rng.normal(size=(count, dim)) * scale @ rng.normal(size=(dim, dim)) + rng.normal(size=dim)).float()


@pytest.mark.parametrize("dim", [3, 6, 9])
def test_what_is_left_is_uncorrelated_and_as_scikit_learn_has_it(dim: int) -> None:
    from sklearn.decomposition import PCA

    x = features()
    mean, matrix = whitening([x[:70], x[70:75], x[75:]], dim, add_up)
    assert matrix.shape == (6, min(dim, 6)) and matrix.dtype == torch.float32
    white = ((x - mean) @ matrix).double().numpy()
    np.testing.assert_allclose(white.T @ white / len(x), np.eye(min(dim, 6)), atol=1e-4)
    expected = PCA(min(dim, 6), whiten=True).fit_transform(x.double().numpy()) * np.sqrt(len(x) / (len(x) - 1))
    np.testing.assert_allclose(np.abs(white), np.abs(expected), atol=2e-3)


def test_a_direction_without_variance_is_none() -> None:
    x = torch.cat([features(50, 3), features(50, 3)[:, :1]], 1)  # the last column is the first again
    mean, matrix = whitening([x], 4, add_up)
    assert torch.isfinite(matrix).all() and (matrix[:, 3] == 0).all() and float(((x - mean) @ matrix)[:, :3].std(0).min()) > 0.9
    assert (whitening([torch.ones(5, 3)], 2, add_up)[1] == 0).all()


def of_rank(x: Tensor, cuts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    own = x[cuts[dist.get_rank()] : cuts[dist.get_rank() + 1]]
    return whitening(list(own.split(16)), 4, add_up)


@pytest.mark.parametrize("cuts", [(0, 40, 200), (0, 100, 130, 200)])
def test_ranks_find_the_same(world: World, cuts: tuple[int, ...]) -> None:
    x = features()
    mean, matrix = whitening([x], 4, add_up)
    told = world(len(cuts) - 1, of_rank, x, cuts)
    for own_mean, own_matrix in told:
        assert torch.equal(own_mean, told[0][0]) and torch.equal(own_matrix, told[0][1])
        torch.testing.assert_close(own_mean, mean)
        torch.testing.assert_close(own_matrix.abs(), matrix.abs(), rtol=1e-4, atol=1e-5)
