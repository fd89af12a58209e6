"""Tensors of all ranks in one, with the gradient that belongs to them."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class Kept(nn.Module):
    """A module whose buffers each rank keeps by itself: they differ from rank to rank by intent, or are the same without help.
    DistributedDataParallel would send rank 0's to all before each forward pass."""


def leave_alone(module: nn.Module) -> None:
    """Have DistributedDataParallel, which is yet to wrap the module, leave the buffers of every `Kept` in it alone."""
    kept = [f"{name}.{buffer}".lstrip(".") for name, part in module.named_modules() if isinstance(part, Kept)
            for buffer, _ in part.named_buffers(recurse=False)]
    nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, kept)


def rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather(x: Tensor) -> tuple[Tensor, int]:
    """x (B, ...) of every rank, in order of rank: (sum of the Bs, ...), and the row where this rank's own begin.

    Ranks may hold different numbers of rows. Backward adds up the gradients that all ranks have for a row, so with DDP's
    mean over ranks: where each rank returns its share of a loss times the world size, the weights get the gradient of the
    whole loss, exactly. One process alone: x itself, and 0.
    """
    if world_size() == 1:
        return x, 0
    sizes = _sizes(x)
    offset = sum(sizes[: dist.get_rank()])
    gathered: Tensor = _Gather.apply(x, sizes, offset)
    return gathered, offset


@torch.no_grad()
def add_up(x: Tensor) -> Tensor:
    """The sum of every rank's x, all of one shape, on each; without a gradient. One process alone: x itself."""
    if world_size() == 1:
        return x
    summed = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(summed)
    return summed


def total(x: Tensor) -> Tensor:
    """The sum of every rank's x, all of one shape, on each, with its gradient: backward adds up those that all ranks have for the
    sum. With DDP's mean over ranks, a loss that each rank works out whole from such sums gives the weights its gradient,
    exactly. One process alone: x itself."""
    if world_size() == 1:
        return x
    summed: Tensor = _Total.apply(x)
    return summed


@torch.no_grad()
def mean_of_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (B, D) of every rank to the mean over all their rows, (D,) float32 or wider, without a gradient; and this rank's share
    of the rows times the world size, a scalar: the mean over ranks of share * (a mean over own rows) is the mean over all rows.

    One reduction of D + 1 numbers and no wait for a device. Ranks may hold different numbers of rows. One process alone: the
    mean, and 1.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if world_size() == 1:
        return x.mean(0), x.new_ones(())
    summed = torch.cat([x.sum(0), x.new_full((1,), len(x))])
    dist.all_reduce(summed)
    return summed[:-1] / summed[-1], len(x) * world_size() / summed[-1]


def _sizes(x: Tensor) -> list[int]:
    # On the CPU if the group can: a number that comes back from a GPU would wait for all the work queued there.
    on_cpu = x.device.type == "cpu" or "cpu:" in dist.get_backend_config()
    device = torch.device("cpu") if on_cpu else x.device
    sizes = torch.zeros(world_size(), dtype=torch.int64, device=device)
    sizes[dist.get_rank()] = len(x)
    dist.all_reduce(sizes)
    return [int(size) for size in sizes.tolist()]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], offset: int) -> Tensor:
        ctx.offset, ctx.count = offset, len(x)
        # Collectives want equal shapes: fill up to the longest, cut afterwards.
        padded = x.new_zeros((max(sizes), *x.shape[1:]))
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed[ctx.offset : ctx.offset + ctx.count], None, None


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return add_up(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return add_up(gradients[0])
