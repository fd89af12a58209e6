"""Sinkhorn-Knopp, against the authors' alternation written out on the whole table in float64."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from viewmill.losses.sinkhorn import sinkhorn


def cosines(images: int, prototypes: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    z, c = rng.normal(size=(images, 4)), rng.normal(size=(prototypes, 4))
    return (z / np.linalg.norm(z, axis=1, keepdims=True)) @ (c / np.linalg.norm(c, axis=1, keepdims=True)).T


def authors(scores: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """Q (K, B): of sum 1; then rows to 1 / K each and columns to 1 / B each, in turns; at last times B. Loops, not axes."""
    q = np.exp(scores / epsilon).T
    q /= q.sum()
    prototypes, images = q.shape
    for _ in range(iterations):
        for k in range(prototypes):
            q[k] = q[k] / q[k].sum() / prototypes
        for b in range(images):
            q[:, b] = q[:, b] / q[:, b].sum() / images
    return (q * images).T


@pytest.mark.parametrize(("images", "prototypes", "epsilon", "iterations"),
                         [(7, 3, 0.05, 3), (3, 7, 0.05, 3), (6, 5, 0.03, 1), (6, 5, 0.5, 10)])
def test_it_is_the_authors_alternation(images: int, prototypes: int, epsilon: float, iterations: int) -> None:
    scores = cosines(images, prototypes)
    expected = authors(scores, epsilon, iterations)
    wide = sinkhorn(torch.from_numpy(scores), epsilon, iterations=iterations)
    np.testing.assert_allclose(wide.numpy(), expected, rtol=1e-10)
    narrow = sinkhorn(torch.from_numpy(scores).float(), epsilon, iterations=iterations)
    assert narrow.dtype == torch.float32
    np.testing.assert_allclose(narrow.numpy(), expected, rtol=2e-4, atol=1e-7)


def test_one_round_by_hand() -> None:
    # exp(score / epsilon) is [[1, 3], [1, 1]]. Prototypes, here columns, to 1 / 2 each: [[1/4, 3/8], [1/4, 1/8]]. Images, here
    # rows, to 1 / 2 each, and at last times 2: [[2/5, 3/5], [2/3, 1/3]].
    q = sinkhorn(0.5 * torch.tensor([[1.0, 3.0], [1.0, 1.0]]).log(), 0.5, iterations=1)
    torch.testing.assert_close(q, torch.tensor([[2 / 5, 3 / 5], [2 / 3, 1 / 3]]))


def test_images_have_one_each_and_prototypes_nearly_equal_shares() -> None:
    scores = torch.from_numpy(cosines(64, 8))
    off = lambda q: float((q.sum(0) / 8 - 1).abs().max())  # noqa: E731
    for iterations, most in ((3, 0.2), (200, 1e-6)):
        q = sinkhorn(scores, 0.2, iterations=iterations)
        torch.testing.assert_close(q.sum(1), torch.ones(64, dtype=q.dtype))
        assert off(q) < most
    assert off((scores / 0.2).softmax(1)) > 0.4  # where each image chooses by itself


def test_in_the_limit_a_higher_score_of_a_whole_prototype_or_image_changes_nothing() -> None:
    scores = torch.from_numpy(cosines(6, 4))
    expected = sinkhorn(scores, 0.2, iterations=100)
    shifted = scores + torch.rand(6, 1, dtype=torch.float64) + torch.rand(1, 4, dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(shifted, 0.2, iterations=100), expected)
    torch.testing.assert_close(sinkhorn(scores + 0.7, 0.2), sinkhorn(scores, 0.2))  # of all alike, at once


def test_images_and_prototypes_may_come_in_any_order() -> None:
    scores, rows, columns = torch.from_numpy(cosines(6, 4)), torch.tensor([3, 1, 5, 0, 2, 4]), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(sinkhorn(scores[rows][:, columns], 0.05), sinkhorn(scores, 0.05)[rows][:, columns])


def test_the_smaller_epsilon_the_harder() -> None:
    scores = torch.from_numpy(cosines(32, 8))
    entropies = [float(torch.special.entr(sinkhorn(scores, epsilon)).sum(1).mean()) for epsilon in (0.03, 0.05, 0.2, 5.0)]
    assert entropies == sorted(entropies) and entropies[0] < 0.1 * math.log(8) and entropies[-1] > 0.99 * math.log(8)


def test_scores_at_the_ends_of_their_range_are_held_by_float32() -> None:
    # One prototype is next to no image, another next to all: exp(-40) and exp(40) of an epsilon of 0.025.
    scores = torch.full((1000, 5), 1.0)
    scores[:, 0], scores[0, 0] = -1.0, -0.99
    q = sinkhorn(scores, 0.025)
    assert q.isfinite().all() and (q >= 0).all()
    np.testing.assert_allclose(q.numpy(), authors(scores.double().numpy(), 0.025, 3), rtol=1e-3)


def test_half_precision_is_computed_in_float32_without_a_gradient() -> None:
    scores = torch.from_numpy(cosines(9, 4)).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        q = sinkhorn(scores, 0.05)
    assert q.dtype == torch.float32 and not q.requires_grad
    np.testing.assert_allclose(q.numpy(), authors(scores.detach().double().numpy(), 0.05, 3), rtol=2e-4, atol=1e-7)


def test_parts_of_a_batch_know_of_each_other_by_sums_alone() -> None:
    # Two parts side by side in one process: each sum is answered once both are known, so each part is asked again and again.
    scores = torch.from_numpy(cosines(7, 3))
    parts, known = scores.split([2, 5]), []
    for sums in range(4):

        def add_up(x: torch.Tensor, asked: list[torch.Tensor]) -> torch.Tensor:
            asked.append(x)
            return known[len(asked) - 1] if len(asked) <= len(known) else x

        results, rounds = [], []
        for part in parts:
            asked: list[torch.Tensor] = []
            results.append(sinkhorn(part, 0.05, add_up=partial(add_up, asked=asked)))
            rounds.append(asked)
        assert [len(x) for x in rounds] == [3, 3] and rounds[0][0].shape == (3,)
        if sums < 3:
            known.append(rounds[0][sums] + rounds[1][sums])
    np.testing.assert_allclose(torch.cat(results).numpy(), authors(scores.numpy(), 0.05, 3), rtol=1e-10)


@pytest.mark.parametrize(("epsilon", "iterations"), [(0.0, 3), (-1.0, 3), (0.05, 0)])
def test_what_does_not_fit_is_refused(epsilon: float, iterations: int) -> None:
    with pytest.raises(ValueError, match="sinkhorn needs an epsilon above 0 and at least 1 iteration, got "):
        sinkhorn(torch.zeros(2, 2), epsilon, iterations=iterations)
