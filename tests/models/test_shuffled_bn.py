"""Batch norm in parts, and rows dealt out among ranks and collected again."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from viewmill.models.rank_norm import over_ranks
from viewmill.models.shuffled_bn import collected, dealt, in_parts, refuse_parts

from ..world import World


def test_each_part_is_normalised_by_itself_and_the_running_statistics_move_by_the_mean_by_hand() -> None:
    # Parts 0 2 and 10 14: means 1 and 12, variances 1 and 4, unbiased 2 and 8.
    norm = nn.BatchNorm1d(1, eps=1e-9)
    x = torch.tensor([[0.0], [2.0], [10.0], [14.0]])
    torch.testing.assert_close(in_parts(norm, x, 2), torch.tensor([[-1.0], [1.0], [-1.0], [1.0]]))
    torch.testing.assert_close(norm.running_mean, torch.tensor([0.1 * (1 + 12) / 2]))
    torch.testing.assert_close(norm.running_var, torch.tensor([0.9 + 0.1 * (2 + 8) / 2]))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))


def rows(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


def test_values_and_gradients_are_those_of_the_parts() -> None:
    whole, apart, x = network(), network(), rows(6)
    y = in_parts(whole, x, 3)
    y.square().sum().backward()
    pieces = [apart(piece) for piece in x.split(2)]
    torch.cat(pieces).square().sum().backward()
    torch.testing.assert_close(y, torch.cat(pieces))
    for mine, theirs in zip(whole.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_buffers_stay_the_same_tensors_and_in_evaluation_mode_the_same_numbers() -> None:
    net = network()
    before = dict(net.named_buffers())
    in_parts(net, rows(4), 2)
    assert all(b is before[name] for name, b in net.named_buffers()) and float(net[1].running_mean.abs().sum()) > 0
    net.eval()
    mean = net[1].running_mean.clone()
    torch.testing.assert_close(in_parts(net, rows(4, 1), 2), net(rows(4, 1)))
    assert torch.equal(net[1].running_mean, mean)


def changed(order: Tensor) -> set[int]:
    """Whose outputs change when row 0 does, of four rows in two parts."""
    outputs = []
    for shift in (0.0, 1.0):
        x = rows(4)
        x[0] += shift
        outputs.append(collected(in_parts(network(), dealt(x, order), 2), order))
    return {i for i in range(4) if not torch.allclose(outputs[0][i], outputs[1][i], atol=1e-6)}


@pytest.mark.parametrize(("order", "together"), [([0, 1, 2, 3], {0, 1}), ([0, 2, 1, 3], {0, 2}), ([1, 2, 3, 0], {0, 3})])
def test_shuffling_changes_who_shares_statistics(order: list[int], together: set[int]) -> None:
    assert changed(torch.tensor(order)) == together


def deal_and_collect(ranks: int, own: int, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x = (10 * torch.arange(own * ranks)[dist.get_rank() * own :][:own, None] + torch.arange(2)).float().requires_grad_()
    here = dealt(x.detach(), order)
    y = here.clone().requires_grad_()
    again = collected(y, order)
    (again * torch.arange(ranks * own)[:, None]).sum().backward()  # each rank's share of what counts row i times i
    return here, again, y.grad


@pytest.mark.parametrize(("ranks", "own"), [(2, 3), (3, 2)])
def test_ranks_get_the_places_that_are_theirs_and_all_rows_come_back_in_order(world: World, ranks: int, own: int) -> None:
    order = torch.tensor([4, 2, 5, 0, 1, 3])
    for rank, (here, again, gradient) in enumerate(world(ranks, deal_and_collect, ranks, own, order)):
        mine = order[rank * own : (rank + 1) * own]
        assert here[:, 0].tolist() == [10.0 * i for i in mine.tolist()] and torch.equal(here[:, 1], here[:, 0] + 1)
        assert again[:, 0].tolist() == [0, 10, 20, 30, 40, 50]
        assert gradient[:, 0].tolist() == [ranks * i for i in mine.tolist()]  # of all ranks, summed


def test_one_process_deals_to_itself() -> None:
    x, order = rows(5), torch.tensor([3, 0, 4, 1, 2])
    assert torch.equal(dealt(x, order), x[[3, 0, 4, 1, 2]]) and torch.equal(collected(dealt(x, order), order), x)


def of_a_rank(order: Tensor) -> Tensor:
    own = len(order) // dist.get_world_size()
    x = rows(len(order))[dist.get_rank() * own :][:own]
    return collected(network()(dealt(x, order)), order).detach()


@pytest.mark.parametrize("ranks", [2, 3])
def test_parts_of_one_process_are_what_ranks_are(world: World, ranks: int) -> None:
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    expected = collected(in_parts(network(), dealt(rows(12), order), ranks), order)
    for of_rank in world(ranks, of_a_rank, order):
        torch.testing.assert_close(of_rank, expected)


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_parts(network(), 4, 2, True)
    refuse_parts(network(), 4, 1, False)
    refuse_parts(nn.Linear(3, 2), 1, 1, True)  # no batch norm at all
    with pytest.raises(ValueError, match=r"model\.bn_splits=3 needs to divide a rank's share of batch_size, 4 images"):
        refuse_parts(network(), 4, 3, True)
    with pytest.raises(ValueError, match=r"batch norm of a single image .* batch_size=4 .* model\.bn_splits=4 leaves 1 a part"):
        refuse_parts(network(), 4, 4, True)
    with pytest.raises(ValueError, match=r"model\.shuffle=true has nobody to shuffle with .* use model\.bn_splits=8, "):
        refuse_parts(network(), 4, 1, True)
    monkeypatch.setattr("viewmill.models.shuffled_bn.world_size", lambda: 2)
    refuse_parts(network(), 4, 1, True)
    over_ranks(synced := network(), torch.device("cpu"))
    refuse_parts(synced, 1, 1, True)
    with pytest.raises(ValueError, match=r"sync_bn=true has batch norm over all ranks, .* leave one out"):
        refuse_parts(synced, 4, 2, True)
