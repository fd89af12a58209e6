"""NT-Xent against values by hand, the paper's equation written out in NumPy, and its invariances."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from viewmill.losses.info_nce import nt_xent, partner_accuracy


def by_the_paper(z_a: np.ndarray, z_b: np.ndarray, temperature: float) -> float:
    """Equation 1 of arXiv:2002.05709, one pair at a time: the mean of l(i, j) over both directions of all B pairs."""
    z = [v / np.linalg.norm(v) for v in [*z_a.astype(np.float64), *z_b.astype(np.float64)]]
    n = len(z_a)

    def term(i: int, j: int) -> float:
        below = sum(math.exp(float(z[i] @ z[k]) / temperature) for k in range(2 * n) if k != i)
        return -math.log(math.exp(float(z[i] @ z[j]) / temperature) / below)

    return sum(term(k, k + n) + term(k + n, k) for k in range(n)) / (2 * n)


def pair(images: int, dim: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z_a, z_b = torch.randn(2, images, dim, generator=generator, dtype=dtype)
    return z_a, z_b


def test_two_images_by_hand() -> None:
    # Partners agree (cosine 1), the two images are orthogonal. Each anchor: -log(e^2 / (e^2 + 1 + 1)) at temperature 0.5.
    z = torch.tensor([[3.0, 0.0], [0.0, 0.2]])
    one = math.log(1 + 2 * math.exp(-2))
    assert float(nt_xent(z, z, 0.5)) == pytest.approx(2 * one, rel=1e-6)
    assert float(nt_xent(z, z, 0.5, scale="paper")) == pytest.approx(one, rel=1e-6)


def test_where_all_embeddings_are_one_every_other_view_is_as_likely() -> None:
    z = torch.ones(8, 4)
    assert float(nt_xent(z, z, 0.1, scale="paper")) == pytest.approx(math.log(15), rel=1e-6)


def test_a_single_image_has_nobody_to_be_confused_with() -> None:
    assert float(nt_xent(*pair(1, 4), 0.1)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 3.0])
@pytest.mark.parametrize("images", [2, 7])
def test_equals_the_papers_equation(images: int, temperature: float) -> None:
    z_a, z_b = pair(images, 5)
    expected = by_the_paper(z_a.numpy(), z_b.numpy(), temperature)
    assert float(nt_xent(z_a, z_b, temperature, scale="paper")) == pytest.approx(expected, rel=1e-12)
    assert float(nt_xent(z_a, z_b, temperature)) == pytest.approx(2 * expected, rel=1e-12)


def test_gradients() -> None:
    z_a, z_b = (z.requires_grad_() for z in pair(3, 4))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.5), (z_a, z_b))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.5, chunk=2), (z_a, z_b))


def test_lengths_order_of_views_and_order_of_images_do_not_matter() -> None:
    z_a, z_b = pair(6, 5)
    value = float(nt_xent(z_a, z_b, 0.2))
    shuffled = torch.tensor([3, 1, 5, 0, 2, 4])
    length = torch.rand(6, 1, dtype=torch.float64) + 0.1
    rotation = torch.linalg.qr(pair(5, 5, seed=3)[0])[0]
    assert float(nt_xent(z_b, z_a, 0.2)) == pytest.approx(value, rel=1e-12)
    assert float(nt_xent(z_a[shuffled], z_b[shuffled], 0.2)) == pytest.approx(value, rel=1e-12)
    assert float(nt_xent(z_a * length, z_b / length, 0.2)) == pytest.approx(value, rel=1e-12)
    assert float(nt_xent(z_a @ rotation, z_b @ rotation, 0.2)) == pytest.approx(value, rel=1e-12)
    assert float(nt_xent(z_a, z_b[shuffled], 0.2)) != pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_chunks_change_neither_value_nor_gradient(chunk: int) -> None:
    gradients = []
    for size in (None, chunk):
        z_a, z_b = (z.requires_grad_() for z in pair(6, 5))
        loss = nt_xent(z_a, z_b, 0.2, chunk=size)
        gradients.append((loss.detach(), *torch.autograd.grad(loss, (z_a, z_b))))
    for whole, pieces in zip(*gradients, strict=True):
        torch.testing.assert_close(pieces, whole, rtol=1e-12, atol=1e-14)


def kept_for_backward(loss: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, int]:
    """The loss, and the bytes of the largest of the tensors that its backward pass waits for."""
    sizes = [0]

    def pack(x: torch.Tensor) -> torch.Tensor:
        sizes.append(x.numel() * x.element_size())
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        value = loss()
    return value, max(sizes)


def in_chunks(images: int, dim: int, chunk: int) -> None:
    """Against the equation in float64, some rows at a time, and against the gradient of the whole at once."""
    z_a, z_b = (z.requires_grad_() for z in pair(images, dim, dtype=torch.float32))
    whole, square = kept_for_backward(lambda: nt_xent(z_a, z_b, 0.1))
    expected_gradient = torch.autograd.grad(whole, (z_a, z_b))
    pieces, kept = kept_for_backward(lambda: nt_xent(z_a, z_b, 0.1, chunk=chunk))
    # All at once: every anchor with every view. In chunks nothing larger than the embeddings themselves.
    assert square >= 4 * (2 * images) ** 2 and kept <= 4 * 2 * images * dim
    for mine, expected in zip(torch.autograd.grad(pieces, (z_a, z_b)), expected_gradient, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-3, atol=1e-7)
    z = torch.cat([z_a, z_b]).detach().double().numpy()
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    total = 0.0
    for start in range(0, 2 * images, 256):
        rows = np.arange(start, min(start + 256, 2 * images))
        logits = z[rows] @ z.T / 0.1
        partner = logits[np.arange(len(rows)), (rows + images) % (2 * images)]
        logits[np.arange(len(rows)), rows] = -np.inf
        total += float((np.log(np.exp(logits).sum(1)) - partner).sum())
    assert float(pieces.detach()) == pytest.approx(total / images, rel=1e-5)


def test_in_chunks_no_matrix_of_all_pairs_is_kept() -> None:
    in_chunks(512, 32, 128)


@pytest.mark.slow
def test_a_batch_of_4096_in_chunks() -> None:
    in_chunks(4096, 128, 512)


def test_shares_of_parts_add_up_to_the_whole() -> None:
    z_a, z_b = pair(7, 5)
    parts = [nt_xent(z_a[i:j], z_b[i:j], 0.2, others=(z_a, z_b), offset=i) for i, j in ((0, 3), (3, 4), (4, 7))]
    assert float(sum(parts)) == pytest.approx(float(nt_xent(z_a, z_b, 0.2)), rel=1e-12)


def test_half_precision_is_computed_in_single_precision_inside_autocast_too() -> None:
    z_a, z_b = pair(64, 32, dtype=torch.float32)
    z_a, z_b = z_a.bfloat16(), z_b.bfloat16()
    expected = float(nt_xent(z_a.double(), z_b.double(), 0.1))
    with torch.autocast("cpu", torch.bfloat16):
        inside, chunked = nt_xent(z_a, z_b, 0.1), nt_xent(z_a, z_b, 0.1, chunk=50)
    assert inside.dtype == torch.float32
    assert float(inside) == pytest.approx(expected, rel=1e-5) and float(chunked) == pytest.approx(expected, rel=1e-5)


def test_a_small_temperature_does_not_overflow() -> None:
    z_a, z_b = pair(4, 3, dtype=torch.float32)
    assert torch.isfinite(nt_xent(z_a, z_b, 1e-3))


@pytest.mark.parametrize(("change", "message"), [
    ({"temperature": 0.0}, "temperature needs a number above 0, got 0.0"),
    ({"temperature": float("nan")}, "temperature needs a number above 0, got nan"),
    ({"chunk": 0}, "chunk needs at least 1 anchor, or None for all at once, got 0"),
    ({"scale": "sum"}, "scale needs 'official' or 'paper', got 'sum'"),
    ({"z_b": torch.ones(3, 4)}, r"both views need one shape \(B, D\), got \(2, 4\) and \(3, 4\)"),
    ({"others": (torch.ones(2, 4), torch.ones(2, 4)), "offset": 1}, r"N >= offset \+ B = 3, got \(2, 4\)"),
])
def test_what_does_not_fit_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nt_xent(**{"z_a": torch.ones(2, 4), "z_b": torch.ones(2, 4), "temperature": 0.1, **change})


def test_accuracy_by_hand() -> None:
    # Degrees: a = 0 and 90, b = 10 and 49. Nearest to a0 is b0, to b0 a0, to a1 b1; but to b1 it is b0, 39 away, before a1, 41.
    def at(*degrees: float) -> torch.Tensor:
        angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
        return torch.stack([angle.cos(), angle.sin()], 1) * torch.tensor([[2.0], [0.5]])

    z_a, z_b = at(0, 90), at(10, 49)
    assert float(partner_accuracy(z_a, z_b)) == 0.75 and float(partner_accuracy(z_a, z_b, chunk=3)) == 0.75
    assert float(partner_accuracy(z_a[1:], z_b[1:], others=(z_a, z_b), offset=1)) == 0.5


def test_accuracy_of_collapsed_embeddings_is_no_better_than_chance() -> None:
    z = torch.ones(8, 4)
    assert float(partner_accuracy(z, z)) <= 2 / 16
