"""Several ranks compute the loss and the gradient of one: gloo, uneven parts."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import nn
from viewmill.losses.info_nce import nt_xent
from viewmill.models.distributed import Kept, add_up, gather, leave_alone, mean_of_rows, total, world_size

from ..world import World


def images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 6, generator=generator), torch.randn(count, 6, generator=generator)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))


def part_of_a_step(parts: tuple[int, ...]) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """This rank's share of the loss, times the world size, and the weights' gradients as DDP leaves them."""
    rank, model = dist.get_rank(), nn.parallel.DistributedDataParallel(network())
    start = sum(parts[:rank])
    a, b = (x[start : start + parts[rank]] for x in images(sum(parts)))
    z_a, z_b = model(torch.cat([a, b])).chunk(2)
    both, offset = gather(torch.stack([z_a, z_b], 1))
    assert offset == start and both.shape == (sum(parts), 2, 4)
    loss = nt_xent(z_a, z_b, 0.3, others=(both[:, 0], both[:, 1]), offset=offset) * world_size()
    loss.backward()
    return loss.detach(), [p.grad for p in model.parameters()]


@pytest.mark.parametrize("parts", [(4, 4), (2, 5, 3)])
def test_ranks_together_have_the_loss_and_the_gradient_of_the_whole_batch(world: World, parts: tuple[int, ...]) -> None:
    model = network()
    a, b = images(sum(parts))
    loss = nt_xent(model(a), model(b), 0.3)
    loss.backward()
    losses, gradients = zip(*world(len(parts), part_of_a_step, parts), strict=True)
    torch.testing.assert_close(torch.stack(losses).mean(), loss.detach(), rtol=1e-5, atol=1e-6)
    for of_rank in gradients:
        for parameter, gradient in zip(model.parameters(), of_rank, strict=True):
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-6)


def mean_of_a_part(parts: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    start = sum(parts[: dist.get_rank()])
    x = images(sum(parts))[0][start : start + parts[dist.get_rank()]].requires_grad_()
    mean, share = mean_of_rows(x.bfloat16())
    return mean, share, share * x.detach().square().mean()


@pytest.mark.parametrize("parts", [(4, 4), (2, 5, 3)])
def test_the_mean_over_all_rows_and_each_ranks_share(world: World, parts: tuple[int, ...]) -> None:
    x = images(sum(parts))[0]
    told = world(len(parts), mean_of_a_part, parts)
    for mean, _, _ in told:
        assert mean.dtype == torch.float32 and not mean.requires_grad
        torch.testing.assert_close(mean, x.bfloat16().float().mean(0))
    assert [float(share) for _, share, _ in told] == pytest.approx([len(parts) * part / sum(parts) for part in parts])
    torch.testing.assert_close(torch.stack([own for _, _, own in told]).mean(), x.square().mean())


def scatter(z: torch.Tensor) -> torch.Tensor:
    """The sum of squares of z's second moments over all ranks' rows: each rank works it out whole."""
    return total(z.T @ z).square().sum()


def scatter_of_a_part(parts: tuple[int, ...]) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    start, model = sum(parts[: dist.get_rank()]), nn.parallel.DistributedDataParallel(network())
    loss = scatter(model(images(sum(parts))[0][start : start + parts[dist.get_rank()]]))
    loss.backward()
    return loss.detach(), [p.grad for p in model.parameters()]


@pytest.mark.parametrize("parts", [(4, 4), (2, 5, 3)])
def test_a_loss_of_sums_over_ranks_has_the_gradient_of_the_whole_batch(world: World, parts: tuple[int, ...]) -> None:
    model = network()
    z = model(images(sum(parts))[0])
    (loss := (z.T @ z).square().sum()).backward()
    for told, gradients in world(len(parts), scatter_of_a_part, parts):
        torch.testing.assert_close(told, loss.detach(), rtol=1e-5, atol=1e-6)
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-6)


def test_one_process_alone_gathers_nothing() -> None:
    x = torch.rand(3, 2, requires_grad=True)
    assert total(x) is x
    assert gather(x) == (x, 0) and world_size() == 1
    mean, share = mean_of_rows(x)
    assert torch.equal(mean, x.detach().mean(0)) and not mean.requires_grad and float(share) == 1


class Own(Kept):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(float(dist.get_rank())))


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.own, self.linear = Own(), nn.Linear(1, 1)
        self.register_buffer("common", torch.tensor(float(dist.get_rank())))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.linear(x)
        return y


def buffers_after_a_step() -> tuple[float, float]:
    module = Both()
    leave_alone(module)
    nn.parallel.DistributedDataParallel(module)(torch.ones(1, 1)).sum().backward()
    return float(module.own.value), float(module.common)


def test_what_a_rank_keeps_for_itself_is_not_overwritten_by_rank_0s(world: World) -> None:
    assert world(2, buffers_after_a_step) == [(0.0, 0.0), (1.0, 0.0)]


def sum_with_others() -> torch.Tensor:
    x = torch.tensor([1, 10]) * (dist.get_rank() + 1)
    summed = add_up(x)
    assert x.tolist() == [dist.get_rank() + 1, 10 * (dist.get_rank() + 1)]  # left as it was
    return summed


def test_a_sum_over_ranks(world: World) -> None:
    assert [summed.tolist() for summed in world(3, sum_with_others)] == [[6, 60]] * 3
    assert add_up(torch.tensor([4, 5])).tolist() == [4, 5]
