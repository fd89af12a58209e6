"""The memory bank: its losses by an independent account in NumPy, its rows, and that ranks which share it do what one would."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from viewmill.models import memory_bank as module
from viewmill.models.distributed import leave_alone
from viewmill.models.memory_bank import Drawn, MemoryBank
from viewmill.models.rows import whole_rows

from ..world import World

IMAGES, DIM = 23, 6


def bank(negatives: int, **more: Any) -> MemoryBank:
    torch.manual_seed(3)
    return MemoryBank(IMAGES, DIM, negatives=negatives, temperature=0.3, **more)


def embeddings(count: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed)), dim=1)


def in_numpy(rows: np.ndarray, z: np.ndarray, drawn: np.ndarray, normalizer: float | None,
             temperature: float = 0.3) -> tuple[float, float]:
    """(loss, Z): Wu et al. 2018, equations 4 to 8, image by image."""
    scores = np.array([[math.exp(float(z[i] @ rows[j]) / temperature) for j in drawn[i]] for i in range(len(z))])
    normalizer = normalizer or len(rows) * float(scores.mean())
    noise, total = (drawn.shape[1] - 1) / len(rows), 0.0
    for own, *others in scores / normalizer:
        total -= math.log(own / (own + noise)) + sum(math.log(noise / (p + noise)) for p in others)
    return total / len(z), normalizer


@pytest.mark.parametrize("dense", [0, 10**6])  # rows fetched one by one, and a product with all
def test_the_estimate_is_the_papers_with_the_first_batchs_normalizer(monkeypatch: pytest.MonkeyPatch, dense: int) -> None:
    monkeypatch.setattr(module, "DENSE", dense)
    monkeypatch.setattr(module._Products, "FETCHED", 60)  # one image's rows at a time
    memory, rows = bank(8), bank(8).rows.local.double().numpy()
    z: float | None = None
    for step in range(2):
        drawn = memory.draw(torch.tensor([4, 0, 22]))
        assert drawn.rows.shape == (3, 9) and drawn.rows[:, 0].tolist() == [4, 0, 22]
        found = embeddings(3, step)
        expected, z = in_numpy(rows, found.double().numpy(), drawn.rows.numpy(), z)
        loss, _ = memory.compare(found, drawn)
        assert float(loss) == pytest.approx(expected, rel=1e-5) and memory.z == pytest.approx(z, rel=1e-5)


def test_what_an_image_is_compared_with_does_not_depend_on_its_place_in_the_batch() -> None:
    rows = bank(6).draw(torch.tensor([8, 2, 15])).rows
    assert torch.equal(bank(6).draw(torch.tensor([15, 8, 2])).rows, rows[[2, 0, 1]])
    assert not torch.equal(rows[0, 1:], rows[1, 1:])


def test_without_negatives_it_is_the_softmax_over_all_images() -> None:
    memory, rows = bank(0), bank(0).rows.local.double().numpy()
    found, index = embeddings(4), torch.tensor([1, 1, 7, 20])
    logits = found.double().numpy() @ rows.T / 0.3
    expected = np.mean([math.log(np.exp(row).sum()) - row[i] for row, i in zip(logits, index.tolist(), strict=True)])
    loss, accuracy = memory.compare(found, memory.draw(index))
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    assert float(accuracy) == np.mean(logits.argmax(1) == index.numpy())
    for law in ("nce", "softmax"):
        assert float(bank(0, law=law).compare(found, memory.draw(index))[0]) == float(loss)


def test_the_softmax_over_what_is_drawn() -> None:
    memory, rows = bank(5, law="softmax"), bank(5).rows.local.double().numpy()
    found, drawn = embeddings(3), memory.draw(torch.tensor([4, 0, 22]))
    pairs = zip(found.double().numpy(), drawn.rows.numpy(), strict=True)
    logits = np.array([[float(z @ rows[j]) / 0.3 for j in places] for z, places in pairs])
    expected = np.mean([math.log(np.exp(row).sum()) - row[0] for row in logits])
    assert float(memory.compare(found, drawn)[0]) == pytest.approx(float(expected), rel=1e-6) and memory.z == 0
    with pytest.raises(ValueError, match="law needs 'nce' or 'softmax', got 'sigmoid'"):
        bank(5, law="sigmoid")


def test_the_share_of_images_that_find_themselves() -> None:
    memory = bank(2)
    memory.rows.local.copy_(F.normalize(torch.eye(IMAGES, DIM) + 0.01, dim=1))
    found = memory.rows.local[[0, 1, 2]]
    drawn = Drawn(torch.tensor([0, 1, 2]), torch.tensor([[0, 3, 4], [1, 5, 1], [2, 2, 2]]))
    assert float(memory.compare(found, drawn)[1]) == 1.0  # an image may meet itself among the noise
    swapped = Drawn(drawn.index, torch.tensor([[0, 3, 4], [1, 5, 2], [2, 0, 1]]))
    assert float(memory.compare(found[[0, 2, 1]], swapped)[1]) == pytest.approx(1 / 3)


@pytest.mark.parametrize("negatives", [0, 4])
def test_collapsed_embeddings_find_nothing(negatives: int) -> None:
    memory = bank(negatives)
    memory.rows.local.copy_(torch.eye(1, DIM).expand(IMAGES, DIM))
    assert float(memory.compare(torch.eye(1, DIM).repeat(3, 1), memory.draw(torch.tensor([3, 8, 20])))[1]) == 0
    alone = MemoryBank(1, DIM, negatives=negatives, temperature=0.1)  # there is no other to be nearer
    assert float(alone.compare(torch.eye(1, DIM), alone.draw(torch.tensor([0])))[1]) == 1


KINDS = [(0, 0, "nce"), (9, 0, "nce"), (9, 10**6, "nce"), (2, 0, "softmax"), (9, 10**6, "softmax")]


@pytest.mark.parametrize(("negatives", "dense", "law"), KINDS)
def test_the_gradient_by_finite_differences(monkeypatch: pytest.MonkeyPatch, negatives: int, dense: int, law: str) -> None:
    monkeypatch.setattr(module, "DENSE", dense)
    memory = bank(negatives, law=law)
    drawn = memory.draw(torch.tensor([5, 9]))
    found = embeddings(2).requires_grad_()
    (memory.compare(found, drawn)[0] + 2 * memory.proximity(found, drawn)).backward()

    def value(x: torch.Tensor) -> float:
        return float(memory.compare(x, drawn)[0] + 2 * memory.proximity(x, drawn))

    for i in range(2):
        for d in range(DIM):
            step = torch.zeros(2, DIM)
            step[i, d] = 1e-2
            slope = (value(found.detach() + step) - value(found.detach() - step)) / 2e-2
            assert float(found.grad[i, d]) == pytest.approx(slope, rel=2e-2, abs=2e-3)  # type: ignore[index]


def test_the_proximal_term_is_the_squared_distance_to_the_own_row() -> None:
    memory, found = bank(2), embeddings(2)
    drawn = memory.draw(torch.tensor([5, 9]))
    expected = ((found.double() - memory.rows.local[[5, 9]].double()) ** 2).sum() / 2
    assert float(memory.proximity(found, drawn)) == pytest.approx(float(expected), rel=1e-6)


def test_a_row_moves_half_way_to_what_was_seen_and_has_length_1() -> None:
    memory, before, found = bank(2), bank(2).rows.local, embeddings(3)
    memory.remember(found, memory.draw(torch.tensor([5, 9, 0])))
    assert torch.equal(memory.rows.local, before)  # not before the weights have moved
    memory.update()
    for place, row in zip([5, 9, 0], found, strict=True):
        mixed = 0.5 * before[place] + 0.5 * row
        torch.testing.assert_close(memory.rows.local[place], mixed / mixed.norm())
    others = [i for i in range(IMAGES) if i not in (5, 9, 0)]
    assert torch.equal(memory.rows.local[others], before[others])
    memory.update()  # what was seen is used once
    torch.testing.assert_close(memory.rows.local[5].norm(), torch.tensor(1.0))
    slow = bank(2, momentum=0.9)
    slow.remember(found, slow.draw(torch.tensor([5, 9, 0])))
    slow.update()
    torch.testing.assert_close(slow.rows.local[9], F.normalize(0.9 * before[9] + 0.1 * found[1], dim=0))


class Network(nn.Module):
    def __init__(self, negatives: int, law: Any) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.linear = nn.Linear(4, DIM)
        self.bank = MemoryBank(IMAGES, DIM, negatives=negatives, temperature=0.3, law=law)

    def forward(self, x: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found, drawn = F.normalize(self.linear(x), dim=1), self.bank.draw(index)
        loss, accuracy = self.bank.compare(found, drawn)
        self.bank.remember(found.detach(), drawn)
        return loss + 0.5 * self.bank.proximity(found, drawn), accuracy


def two_steps(negatives: int, dense: int, law: str, parts: tuple[int, ...]) -> dict[str, Any]:
    """On each rank its part of the batch; alone the whole."""
    module.DENSE = dense
    network = Network(negatives, law)
    own = slice(None)
    model: nn.Module = network
    if dist.is_initialized():
        own = slice(sum(parts[: dist.get_rank()]), sum(parts[: dist.get_rank() + 1]))
        leave_alone(network)
        model = nn.parallel.DistributedDataParallel(network)
    told: dict[str, Any] = {"losses": [], "accuracies": []}
    for step in range(2):
        generator = torch.Generator().manual_seed(step)
        x, index = torch.randn(sum(parts), 4, generator=generator), torch.randint(IMAGES, (sum(parts),), generator=generator)
        model.zero_grad()
        loss, accuracy = model(x[own], index[own])
        loss.backward()
        network.bank.update()
        told["losses"].append(float(loss.detach()))
        told["accuracies"].append(float(accuracy))
    module.DENSE = 64
    return told | {"gradients": [p.grad for p in network.parameters()], "rows": whole_rows(network), "z": network.bank.z}


@pytest.mark.parametrize(("negatives", "dense", "law"), KINDS)
@pytest.mark.parametrize("parts", [(4, 4), (2, 5, 3)])
def test_ranks_that_share_a_bank_do_what_one_with_all_of_it_would(world: World, negatives: int, dense: int, law: str,
                                                                  parts: tuple[int, ...]) -> None:
    alone, ranks = two_steps(negatives, dense, law, parts), world(len(parts), two_steps, negatives, dense, law, parts)
    assert np.mean([told["losses"] for told in ranks], 0) == pytest.approx(alone["losses"], rel=1e-5)
    for told in ranks:
        assert told["accuracies"] == pytest.approx(alone["accuracies"]) and told["z"] == pytest.approx(alone["z"], rel=1e-6)
        for gradient, expected in zip(told["gradients"], alone["gradients"], strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ranks[0]["rows"]["bank.rows"], alone["rows"]["bank.rows"])


def test_a_checkpoint_brings_back_the_normalizer_and_what_will_be_drawn() -> None:
    memory = bank(5)
    memory.compare(embeddings(2), memory.draw(torch.tensor([1, 2])))
    torch.manual_seed(77)
    other = MemoryBank(IMAGES, DIM, negatives=5, temperature=0.3)
    other.load_state_dict(memory.state_dict())
    assert other.z == memory.z > 0
    assert torch.equal(other.draw(torch.tensor([1, 2])).rows, memory.draw(torch.tensor([1, 2])).rows)


def test_a_network_that_is_only_judged_has_no_rows_but_loads_the_same_state() -> None:
    judged = MemoryBank(None, DIM, negatives=5, temperature=0.3)
    judged.load_state_dict(bank(5).state_dict())
    with pytest.raises(ValueError, match="a memory bank needs the number of images"):
        judged.draw(torch.tensor([0]))


@pytest.mark.parametrize(("changes", "message"), [
    ({"negatives": -1}, "negatives needs a whole number of at least 0, got -1"),
    ({"temperature": 0.0}, "temperature needs a number above 0"),
    ({"momentum": 1.0}, "bank_momentum needs a number of at least 0 and below 1, got 1")])
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MemoryBank(IMAGES, DIM, **{"negatives": 1, "temperature": 0.1, **changes})
