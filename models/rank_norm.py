"""Batch norm over the images of all ranks, on CUDA and on the CPU."""

from __future__ import annotations

import torch
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .distributed import total, world_size


class RankNorm(_BatchNorm):
    """Batch norm in training over the rows of all ranks, which may hold different numbers of them; the gradient is that of the
    whole batch, as `total`'s. On any device, and meant for the CPU, where torch has none. after: what a norm of timm's does
    behind the norm itself, its activation.

    Every rank has to come here equally often. In evaluation, and with one process alone, torch's own batch norm.
    """

    def __init__(self, like: _BatchNorm) -> None:
        super().__init__(like.num_features, like.eps, like.momentum, like.affine, like.track_running_stats)
        self.weight, self.bias = like.weight, like.bias
        self.running_mean, self.running_var = like.running_mean, like.running_var
        self.num_batches_tracked, self.training = like.num_batches_tracked, like.training
        self.after = nn.Sequential(like.drop, like.act) if isinstance(like, BatchNormAct2d) else nn.Identity()

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"batch norm needs an input (N, C, ...), got shape {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        by_batch = self.training or self.running_mean is None
        if not by_batch or world_size() == 1:
            output: Tensor = self.after(super().forward(input))
            return output
        self._check_input_dim(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        over = [axis for axis in range(x.ndim) if axis != 1]
        shape = (1, -1, *[1] * (x.ndim - 2))
        sums = total(torch.cat([x.sum(over), x.new_full((1,), x.numel() / x.shape[1])]))
        rows = sums[-1]
        mean = sums[:-1] / rows
        centred = x - mean.view(shape)
        variance = total(centred.square().sum(over)) / rows
        self._remember(mean.detach(), variance.detach() * (rows / (rows - 1)).detach())
        x = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            x = x * self.weight.view(shape) + self.bias.view(shape)
        output = self.after(x.to(input.dtype))
        return output

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if not self.training or self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        new = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), new)
        self.running_var.lerp_(variance.to(self.running_var.dtype), new)


def over_ranks(module: nn.Module, device: torch.device) -> None:
    """Put batch norm over all ranks in the place of each one inside the module; parameters and statistics are the same tensors,
    and what timm's norms do behind the norm stays. On CUDA torch's. Raises ValueError where the module is itself a norm."""
    if isinstance(module, _BatchNorm):
        raise ValueError("a norm cannot be replaced inside itself; give the network that has it")
    for name, child in module.named_children():
        if not isinstance(child, _BatchNorm):
            over_ranks(child, device)
        elif not is_over_ranks(child):
            # Not torch's own conversion: it would drop the activations of timm's norms.
            setattr(module, name, convert_sync_batchnorm(child) if device.type == "cuda" else RankNorm(child))


def is_over_ranks(module: nn.Module) -> bool:
    return isinstance(module, nn.SyncBatchNorm | RankNorm)

