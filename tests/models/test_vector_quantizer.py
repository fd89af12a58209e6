"""A codebook that follows: nearest entries, moving means by hand, gradients straight through, and the same on all ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from viewmill.models.distributed import rank, world_size
from viewmill.models.vector_quantizer import VectorQuantizer

from ..world import World


def book(decay: float = 0.9) -> VectorQuantizer:
    torch.manual_seed(0)
    return VectorQuantizer(3, 2, decay)


def begun() -> VectorQuantizer:
    """Entries (0, 0), (1, 0), (0, 2), as if each had stood for one vector."""
    made = book()
    entries = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    made.weight.data.copy_(entries)
    made.sums.copy_(entries)
    made.begun.fill_(True)
    return made


def test_each_vector_becomes_its_nearest_entry() -> None:
    z = torch.tensor([[0.9, 0.1], [0.2, 0.3], [-1.0, 5.0], [0.6, 0.0]]).T.reshape(1, 2, 2, 2)
    taken, codes, _ = begun().eval()(z)
    assert codes.tolist() == [[[1, 0], [2, 1]]]
    assert taken[0, :, 1, 0].tolist() == [0.0, 2.0]
    distance = -begun().closeness(z.movedim(1, -1)) + z.square().sum(1)[..., None]
    assert distance[0, 0, 0].tolist() == pytest.approx([0.82, 0.02, 0.81 + 1.9**2])


def test_the_gradient_goes_straight_through_and_the_commitment_pulls_vectors_alone() -> None:
    quantizer, z = begun(), torch.tensor([[0.9, 0.1]]).reshape(1, 2, 1, 1).requires_grad_()
    taken, _, commitment = quantizer(z)
    (taken * torch.tensor([3.0, 5.0]).reshape(1, 2, 1, 1)).sum().backward(retain_graph=True)
    assert z.grad is not None and z.grad.flatten().tolist() == [3.0, 5.0]
    z.grad = None
    commitment.backward()
    # (0.9 - 1)^2 and 0.1^2, mean over the two values.
    assert float(commitment.detach()) == pytest.approx(0.01) and z.grad.flatten().tolist() == pytest.approx([-0.1, 0.1])
    assert not quantizer.weight.requires_grad


def test_entries_follow_the_vectors_that_fell_to_them_by_hand() -> None:
    quantizer = begun()
    quantizer(torch.tensor([[2.0, 0.0], [1.0, 1.0]]).T.reshape(1, 2, 1, 2))  # both to entry 1
    # Sizes 0.9, 0.9 + 0.1 * 2, 0.9; sums of entry 1: 0.9 * (1, 0) + 0.1 * (3, 1). Smoothing moves each by parts in 1e5.
    assert quantizer.sizes.tolist() == pytest.approx([0.9, 1.1, 0.9])
    expected = np.array([[0, 0], [1.2 / 1.1, 0.1 / 1.1], [0, 1.8 / 0.9]])
    np.testing.assert_allclose(quantizer.weight.detach().numpy(), expected, atol=1e-4)
    kept = quantizer.weight.detach().clone()
    quantizer.eval()(torch.full((1, 2, 1, 1), 9.0))
    assert torch.equal(quantizer.weight, kept)


def test_entries_that_too_few_vectors_fall_to_begin_anew_at_vectors_of_the_step() -> None:
    quantizer = begun()
    quantizer.restart = 0.95
    quantizer(torch.tensor([[2.0, 0.0], [2.0, 0.0]]).T.reshape(1, 2, 1, 2))  # both to entry 1: sizes 0.9, 1.1, 0.9
    assert quantizer.sizes.tolist() == pytest.approx([0.95, 1.1, 0.95])
    expected = np.array([[2, 0], [(0.9 * 1 + 0.1 * 4) / 1.1, 0], [2, 0]])  # the first and the last have the step's vector
    np.testing.assert_allclose(quantizer.weight.detach().numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(quantizer.sums.numpy(), expected * np.array([[0.95], [1.1], [0.95]]), atol=1e-4)
    codes = quantizer.eval()(torch.full((1, 2, 1, 1), 9.0))[1]
    assert codes.item() == 0 and torch.equal(quantizer.sizes, quantizer.sizes.clamp(min=0.95))  # nothing moves in evaluation


def test_an_entry_without_vectors_keeps_a_finite_mean() -> None:
    quantizer = begun()
    for _ in range(2000):
        quantizer(torch.zeros(1, 2, 1, 1))
    assert torch.isfinite(quantizer.weight).all() and float(quantizer.sizes[1]) < 1e-6


def test_it_begins_with_vectors_of_its_first_step_taken_evenly() -> None:
    quantizer, z = book(0.0), torch.randn(1, 2, 2, 3)
    rows = z.movedim(1, -1).reshape(6, 2)
    found: list[torch.Tensor] = []
    quantizer._follow = lambda rows, codes: found.append(quantizer.weight.detach().clone())  # type: ignore[method-assign]
    quantizer(z)
    assert torch.equal(found[0], rows[[0, 2, 4]]) and bool(quantizer.begun)
    quantizer(torch.randn(1, 2, 2, 3))
    assert torch.equal(found[1], found[0])


def followed(images: int) -> torch.Tensor:
    quantizer = VectorQuantizer(4, 2, 0.5)
    for step in range(3):
        z = torch.randn(images, 2, 2, 2, generator=torch.Generator().manual_seed(step))
        quantizer(z[rank() * images // world_size() : (rank() + 1) * images // world_size()])
    return quantizer.weight.detach()


@pytest.mark.parametrize("ranks", [2, 3])
def test_all_ranks_have_the_codebook_of_one_process(world: World, ranks: int) -> None:
    alone = followed(7)
    for of in world(ranks, followed, 7):
        torch.testing.assert_close(of, alone)


def begun_anew(images: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The entries after a step that leaves none of them, and the vectors of that step."""
    torch.manual_seed(rank())
    quantizer = VectorQuantizer(4, 2, 0.5, restart=1e6)
    z = torch.randn(images, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    quantizer(z[rank() * images // world_size() : (rank() + 1) * images // world_size()])
    return quantizer.weight.detach(), z.movedim(1, -1).reshape(-1, 2)


@pytest.mark.parametrize("ranks", [2, 3])
def test_all_ranks_begin_anew_at_the_same_vectors_of_all_of_them(world: World, ranks: int) -> None:
    found = world(ranks, begun_anew, 7)
    entries, rows = found[0]
    assert all(torch.equal(of, entries) for of, _ in found)
    taken = [int((rows == entry).all(1).nonzero()) for entry in entries]
    # Entry n is of rank n modulo their number, whose vectors are a part of the images, of four each.
    owner = [next(r for r in range(ranks) if row < 4 * ((r + 1) * 7 // ranks)) for row in taken]
    assert owner == [number % ranks for number in range(4)]
