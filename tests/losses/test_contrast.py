"""A query among keys: values by hand, the papers' equations written out in NumPy, gradients, invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize
from viewmill.losses.contrast import batch_contrast, queue_contrast


def random(rows: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def info_nce(q: np.ndarray, own: np.ndarray, others: np.ndarray, temperature: float) -> float:
    """Equation 1 of arXiv:1911.05722: -log exp(q k+ / t) / sum over k+ and the others of exp(q k / t), of vectors of length 1."""
    q, own = q / np.linalg.norm(q), own / np.linalg.norm(own)
    below = math.exp(q @ own / temperature) + sum(math.exp(q @ k / np.linalg.norm(k) / temperature) for k in others)
    return -math.log(math.exp(q @ own / temperature) / below)


def test_a_queue_by_hand() -> None:
    # Query and key agree (cosine 1), of the negatives one is orthogonal, one opposite: -log(e^2 / (e^2 + 1 + e^-2)) at 0.5.
    # The second query is opposite to its key, and agrees with the second negative: -log(e^-2 / (e^-2 + 1 + e^2)).
    queries, keys = torch.tensor([[3.0, 0.0], [-0.1, 0.0]]), torch.tensor([[0.2, 0.0], [5.0, 0.0]])
    loss, accuracy = queue_contrast(queries, keys, torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), 0.5)
    whole = math.log(math.exp(2) + 1 + math.exp(-2))
    assert float(loss) == pytest.approx(((whole - 2) + (whole + 2)) / 2, rel=1e-6)
    assert float(accuracy) == 0.5


def test_a_batch_by_hand() -> None:
    # Cosines of query 0 with the three candidates: 1, 0, -1; its own is the second. Of query 1: 0, 1, 0, its own.
    queries, candidates = torch.tensor([[2.0, 0.0], [0.0, 7.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.5], [-3.0, 0.0]])
    loss, accuracy = batch_contrast(queries, candidates, torch.tensor([1, 1]), 1.0)
    first, second = math.log(math.e + 1 + 1 / math.e), math.log(1 + math.e + 1) - 1
    assert float(loss) == pytest.approx((first + second) / 2, rel=1e-6) and float(accuracy) == 0.5


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_both_equal_the_papers_equation(temperature: float) -> None:
    queries, keys, negatives = random(5, 4), random(5, 4, 1), normalize(random(7, 4, 2), dim=1)
    q, k, n = queries.numpy(), keys.numpy(), negatives.numpy()
    expected = np.mean([info_nce(q[i], k[i], n, temperature) for i in range(5)])
    assert float(queue_contrast(queries, keys, negatives, temperature)[0]) == pytest.approx(expected, rel=1e-12)
    positive = torch.tensor([4, 0, 3, 3, 1])
    expected = np.mean([info_nce(q[i], k[p], np.delete(k, p, 0), temperature) for i, p in enumerate(positive.tolist())])
    assert float(batch_contrast(queries, keys, positive, temperature)[0]) == pytest.approx(expected, rel=1e-12)


def test_gradients() -> None:
    queries, keys = random(3, 4).requires_grad_(), random(3, 4, 1).requires_grad_()
    negatives, positive = normalize(random(5, 4, 2), dim=1), torch.tensor([2, 0, 1])
    assert torch.autograd.gradcheck(lambda q, k: queue_contrast(q, k, negatives, 0.3)[0], (queries, keys))
    assert torch.autograd.gradcheck(lambda q, k: batch_contrast(q, k, positive, 0.3)[0], (queries, keys))
    assert not queue_contrast(queries, keys, negatives, 0.3)[1].requires_grad


def test_where_all_embeddings_are_one_the_loss_is_chance_and_nobody_is_found() -> None:
    one = torch.ones(6, 4)
    loss, accuracy = queue_contrast(one, one, normalize(torch.ones(9, 4), dim=1), 0.1)
    assert float(loss) == pytest.approx(math.log(10), rel=1e-6) and float(accuracy) == 0
    loss, accuracy = batch_contrast(one, one, torch.arange(6), 0.1)
    assert float(loss) == pytest.approx(math.log(6), rel=1e-6) and float(accuracy) == 0


def test_a_rotation_the_lengths_and_the_order_of_negatives_do_not_matter() -> None:
    queries, keys, negatives = random(5, 4), random(5, 4, 1), normalize(random(7, 4, 2), dim=1)
    value = float(queue_contrast(queries, keys, negatives, 0.2)[0])
    rotation = torch.linalg.qr(random(4, 4, 3))[0]
    order = torch.tensor([3, 1, 6, 0, 2, 4, 5])
    changed = queue_contrast(3 * queries @ rotation, keys @ rotation / 5, (negatives @ rotation)[order], 0.2)
    assert float(changed[0]) == pytest.approx(value, rel=1e-12)
    assert float(queue_contrast(queries, keys.roll(1, 0), negatives, 0.2)[0]) != pytest.approx(value, rel=1e-2)


def test_a_queue_of_the_other_keys_is_a_batch() -> None:
    queries, keys = random(1, 4), random(6, 4, 1)
    as_queue = queue_contrast(queries, keys[2:3], normalize(keys[[0, 1, 3, 4, 5]], dim=1), 0.2)
    as_batch = batch_contrast(queries, keys, torch.tensor([2]), 0.2)
    assert float(as_queue[0]) == pytest.approx(float(as_batch[0]), rel=1e-12) and as_queue[1] == as_batch[1]


def test_half_precision_is_computed_in_single_precision_inside_autocast_too() -> None:
    queries, keys = random(32, 16).bfloat16(), random(32, 16, 1).bfloat16()
    negatives, positive = normalize(random(40, 16, 2).float(), dim=1), torch.arange(32)
    expected = [float(queue_contrast(queries.double(), keys.double(), negatives.double(), 0.07)[0]),
                float(batch_contrast(queries.double(), keys.double(), positive, 0.07)[0])]
    with torch.autocast("cpu", torch.bfloat16):
        inside = [queue_contrast(queries, keys, negatives, 0.07)[0], batch_contrast(queries, keys, positive, 0.07)[0]]
    assert all(loss.dtype == torch.float32 for loss in inside)
    assert [float(loss) for loss in inside] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: queue_contrast(torch.ones(2, 4), torch.ones(2, 4), torch.ones(3, 4), 0.0), "temperature needs .* got 0.0"),
    (lambda: batch_contrast(torch.ones(2, 4), torch.ones(2, 4), torch.arange(2), float("nan")), "temperature needs .* got nan"),
    (lambda: queue_contrast(torch.ones(2, 4), torch.ones(3, 4), torch.ones(3, 4), 0.1),
     r"queries and keys need one shape \(B, D\), negatives \(K, D\), got \(2, 4\), \(3, 4\) and \(3, 4\)"),
    (lambda: queue_contrast(torch.ones(2, 4), torch.ones(2, 4), torch.ones(3, 5), 0.1), r"got \(2, 4\), \(2, 4\) and \(3, 5\)"),
    (lambda: batch_contrast(torch.ones(2, 4), torch.ones(3, 4), torch.arange(3), 0.1), r"got \(2, 4\), \(3, 4\) and \(3,\)"),
])
def test_what_does_not_fit_is_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
