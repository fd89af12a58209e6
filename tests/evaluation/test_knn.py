"""Weighted kNN against votes counted by hand and against the whole rule written out in float64 NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from viewmill.evaluation.knn import knn_accuracy, knn_predictions, knn_scores

from tests.world import World


def reference(bank: np.ndarray, label: np.ndarray, queries: np.ndarray, k: int, temperature: float, classes: int) -> np.ndarray:
    """Votes exp(cosine / temperature) of the k nearest, one query at a time."""
    bank = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    scores = np.zeros((len(queries), classes))
    for row, query in enumerate(queries):
        cosine = bank @ (query / np.linalg.norm(query))
        for neighbour in sorted(range(len(bank)), key=lambda i: -cosine[i])[:k]:
            scores[row, label[neighbour]] += math.exp(cosine[neighbour] / temperature)
    return scores


def test_votes_by_hand() -> None:
    # Cosines of the query with the bank: 1, 0.6, 0.6, 0. Two of class 1 at 0.6 outvote one of class 0 at 1 only where the
    # temperature is high: 2 e^(-0.4 / t) > 1 from t = 0.4 / ln 2 = 0.577 on.
    bank = torch.tensor([[2.0, 0.0], [0.6, 0.8], [0.6, -0.8], [0.0, 1.0]])
    label, query = torch.tensor([0, 1, 1, 2]), torch.tensor([[5.0, 0.0]])
    scores = knn_scores(bank, label, query, k=3, temperature=0.5)
    np.testing.assert_allclose(scores.numpy(), [[1, 2 * math.exp(-0.8), 0]], rtol=1e-6)
    assert knn_accuracy(bank, label, query, torch.tensor([0]), k=3, temperature=0.57) == 1
    assert knn_accuracy(bank, label, query, torch.tensor([1]), k=3, temperature=0.58) == 1


@pytest.mark.parametrize(("k", "temperature", "chunk"), [(20, 0.07, 1024), (1, 0.07, 7), (5, 0.5, 1), (120, 0.1, 50)])
def test_equals_the_rule_written_out(k: int, temperature: float, chunk: int) -> None:
    rng = np.random.default_rng(k)
    bank, label, queries = rng.normal(size=(120, 8)), rng.integers(0, 6, 120), rng.normal(size=(50, 8))
    expected = reference(bank, label, queries, k, temperature, 6)
    scores = knn_scores(torch.from_numpy(bank), torch.from_numpy(label), torch.from_numpy(queries), k=k, temperature=temperature,
                        chunk=chunk)
    np.testing.assert_allclose(scores / scores.sum(1, keepdim=True), expected / expected.sum(1, keepdims=True), rtol=1e-9)
    truth = rng.integers(0, 6, 50)
    tensors = [torch.from_numpy(x) for x in (bank, label, queries, truth)]
    accuracy = knn_accuracy(*tensors, k=k, temperature=temperature, chunk=chunk)
    assert accuracy == pytest.approx(float((expected.argmax(1) == truth).mean()))


def test_lengths_of_features_do_not_matter_and_single_precision_suffices() -> None:
    rng = np.random.default_rng(1)
    bank, label, queries = rng.normal(size=(80, 8)), rng.integers(0, 4, 80), rng.normal(size=(30, 8))
    truth = reference(bank, label, queries, 20, 0.07, 4).argmax(1)
    scaled = [torch.from_numpy((x * rng.uniform(0.1, 10, (len(x), 1))).astype(np.float32)) for x in (bank, queries)]
    assert knn_accuracy(scaled[0], torch.from_numpy(label), scaled[1], torch.from_numpy(truth)) == 1


def test_a_tiny_temperature_is_the_nearest_neighbour_and_does_not_overflow() -> None:
    rng = np.random.default_rng(2)
    bank, label, queries = rng.normal(size=(60, 8)), rng.integers(0, 4, 60), rng.normal(size=(20, 8))
    truth = reference(bank, label, queries, 1, 1, 4).argmax(1)
    values = [torch.from_numpy(x.astype(np.float32) if x.dtype == float else x) for x in (bank, label, queries, truth)]
    assert knn_accuracy(*values, k=20, temperature=1e-4) == 1


def test_a_class_that_never_votes_counts_as_a_mistake() -> None:
    x = torch.eye(4)
    assert knn_accuracy(x, torch.tensor([0, 1, 2, 3]), x, torch.tensor([0, 1, 2, 9]), k=1) == 0.75


def test_what_does_not_fit_is_refused() -> None:
    x, y = torch.eye(4), torch.tensor([0, 1, 2, 3])
    with pytest.raises(ValueError, match=r"k=20 needs to be in 1 \.\. 4, the number of labelled features"):
        knn_accuracy(x, y, x, y)
    with pytest.raises(ValueError, match="temperature needs a number above 0, got 0"):
        knn_accuracy(x, y, x, y, k=1, temperature=0)
    with pytest.raises(ValueError, match="classes >= 0"):
        knn_accuracy(x, y - 1, x, y, k=1)
    with pytest.raises(ValueError, match="classes=3 needs to be above the largest label, 3"):
        knn_scores(x, y, x, k=1, classes=3)
    with pytest.raises(ValueError, match="got 0 features"):
        knn_accuracy(x, y, x[:0], y[:0], k=1)


def test_a_tie_goes_to_the_lower_class() -> None:
    # Two neighbours, equally near, one of each class.
    bank, query = torch.tensor([[0.6, 0.8], [0.6, -0.8]]), torch.tensor([[1.0, 0.0]])
    for label in (torch.tensor([1, 0]), torch.tensor([0, 1])):
        assert knn_accuracy(bank, label, query, torch.tensor([0]), k=2) == 1


def test_equals_scikit_learns_classifier() -> None:
    # scikit-learn's cosine distance is 1 - cosine; its votes are weights of distances.
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(7, 16))
    label, asked = rng.integers(0, 7, 900), rng.integers(0, 7, 400)
    bank, queries = (centres[y] + 1.5 * rng.normal(size=(len(y), 16)) for y in (label, asked))
    ours = knn_predictions(*(torch.from_numpy(x) for x in (bank, label, queries)), ks=(20, 5, 200), temperature=0.1, chunk=33)
    assert list(ours) == [20, 5, 200]
    for k, answer in ours.items():
        theirs = KNeighborsClassifier(k, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.1)).fit(bank, label)
        assert 0.5 < theirs.score(queries, asked) < 1
        np.testing.assert_array_equal(answer.numpy(), theirs.predict(queries))


def features(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=generator), torch.randint(0, 5, (count,), generator=generator)


def on_a_rank(bank_size: int) -> dict[int, torch.Tensor]:
    return knn_predictions(*features(bank_size, 1), features(50, 2)[0], ks=(1, 7), chunk=16, ranks=True)


@pytest.mark.parametrize("bank_size", [200, 8])
def test_ranks_together_find_the_neighbours_of_one(world: World, bank_size: int) -> None:
    alone = knn_predictions(*features(bank_size, 1), features(50, 2)[0], ks=(1, 7))
    for ranks in (2, 3):
        for found in world(ranks, on_a_rank, bank_size):
            assert all(torch.equal(found[k], alone[k]) for k in (1, 7))
