"""Batch norm over several ranks: torch's own, over the whole batch, is what it has to equal."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, SyncBatchNormAct
from torch import Tensor, nn
from viewmill.models.rank_norm import RankNorm, is_over_ranks, over_ranks

from ..world import World

CPU = torch.device("cpu")


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "plain":
        return nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5, momentum=None), nn.Flatten(), nn.Linear(20, 4),
                             nn.BatchNorm1d(4, affine=False, eps=0.1))
    norm = BatchNormAct2d(5, act_layer=nn.LeakyReLU)
    nn.init.normal_(norm.weight)
    return nn.Sequential(nn.Conv2d(2, 5, 3), norm, nn.Flatten(), nn.BatchNorm1d(20, track_running_stats=False))


def images(step: int, count: int) -> Tensor:
    return torch.randn(count, 2, 4, 4, generator=torch.Generator().manual_seed(step)) * 3 + 5


def trained(kind: str, parts: tuple[int, ...]) -> tuple[list[float], list[Tensor], dict[str, Tensor], Tensor]:
    """Two steps of the mean over images of the outputs' cubes: losses, the last gradients, the state, an output in evaluation."""
    module, rank, ranks = network(kind), 0, 1
    model: nn.Module = module
    if dist.is_initialized():
        rank, ranks = dist.get_rank(), len(parts)
        over_ranks(module, CPU)
        model = nn.parallel.DistributedDataParallel(module)
    own = slice(sum(parts[:rank]), sum(parts[: rank + 1])) if ranks > 1 else slice(None)
    losses = []
    for step in range(2):
        module.zero_grad()
        loss = model(images(step, sum(parts))[own]).pow(3).sum() * ranks / sum(parts)
        loss.backward()
        losses.append(float(loss.detach()))
        with torch.no_grad():
            for p in module.parameters():
                p -= 0.1 * p.grad
    gradients = [p.grad for p in module.parameters()]
    return losses, gradients, module.state_dict(), module.eval()(images(9, 3)) if kind == "plain" else torch.zeros(0)


@pytest.mark.parametrize("kind", ["plain", "act"])
@pytest.mark.parametrize("parts", [(4, 4), (2, 5, 3)])
def test_ranks_have_the_norm_the_gradient_and_the_statistics_of_the_whole_batch(world: World, parts: tuple[int, ...],
                                                                                 kind: str) -> None:
    losses, gradients, state, judged = trained(kind, parts)
    told = world(len(parts), trained, kind, parts)
    assert torch.tensor([of[0] for of in told]).mean(0).tolist() == pytest.approx(losses, rel=1e-4)
    for _, mine, its_state, its_judged in told:
        for got, gradient in zip(mine, gradients, strict=True):
            torch.testing.assert_close(got, gradient, rtol=1e-3, atol=1e-5)
        assert its_state.keys() == state.keys()
        for name, value in state.items():
            torch.testing.assert_close(its_state[name], value, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(its_judged, judged, rtol=1e-4, atol=1e-5)


def test_one_process_alone_has_torchs_norm_with_the_same_weights_and_what_timm_does_behind_it() -> None:
    plain = nn.Sequential(nn.Conv2d(2, 5, 3), nn.Sequential(BatchNormAct2d(5, act_layer=nn.ReLU)), nn.Conv2d(5, 2, 1))
    wrapped: Any = copy.deepcopy(plain)
    over_ranks(wrapped, CPU)
    assert isinstance(wrapped[1][0], RankNorm) and is_over_ranks(wrapped[1][0]) and not is_over_ranks(plain[1][0])
    x = images(0, 3)
    assert torch.equal(wrapped(x), plain(x)) and float(wrapped[:2](x).min().detach()) == 0
    assert wrapped.state_dict().keys() == plain.state_dict().keys()
    norm = wrapped[1][0]
    over_ranks(wrapped, CPU)
    assert wrapped[1][0] is norm  # once is enough
    with pytest.raises(ValueError, match="a norm cannot be replaced inside itself"):
        over_ranks(norm, CPU)


def test_on_cuda_torchs_norm_keeps_the_activation_of_timms() -> None:
    module: Any = nn.Sequential(BatchNormAct2d(5, act_layer=nn.ReLU), nn.BatchNorm2d(5))
    weight = module[0].weight
    over_ranks(module, torch.device("cuda"))
    assert type(module[0]) is SyncBatchNormAct and isinstance(module[0].act, nn.ReLU) and module[0].weight is weight
    assert type(module[1]) is nn.SyncBatchNorm and all(map(is_over_ranks, module))


def half(x: Tensor) -> tuple[torch.dtype, Tensor]:
    module = nn.Sequential(nn.BatchNorm1d(3))
    over_ranks(module, CPU)
    output = module(x[dist.get_rank() :: 2].bfloat16())
    return output.dtype, output.detach()


def test_half_precision_is_normalised_in_float32(world: World) -> None:
    x = (torch.randn(8, 3, generator=torch.Generator().manual_seed(0)) + 100).bfloat16().float()
    (dtype, even), (_, odd) = world(2, half, x)
    assert dtype == torch.bfloat16
    torch.testing.assert_close(torch.stack([even, odd], 1).flatten(0, 1).float(), F.batch_norm(x, None, None, training=True),
                               rtol=1e-2, atol=1e-2)
