"""Linear classifiers, each by itself, trained in one pass: for every kind of feature, one for each learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.distributed import world_size
from ...models.training.config import OptimizerConfig
from ...models.training.optimizer import build_optimizer, set_rate


class Heads:
    """R heads on each kind of feature. dims: D of each kind. rates (R,): the peak rate of each head, base rates already scaled.

    All heads of a kind begin with the same weights, which depend on seed and kind alone: N(0, init_std), bias 0. A head's
    loss, gradient and update are what they would be if it were trained alone. norm: features are normalised per channel as
    batch norm without affine does, before the heads; see `Standardize`.

    The R heads of a kind are one tensor, so that one product serves them all; each optimizer sees views of it, the heads of
    one rate, so that LARS adapts to each head by itself. Raises ValueError for no kinds or no rates.
    """

    def __init__(self, dims: Mapping[str, int], rates: Sequence[float], classes: int, optimizer: OptimizerConfig, *,
                 init_std: float = 0.01, norm: bool = False, eps: float = 1e-5, seed: int = 0,
                 device: torch.device | str = "cpu") -> None:
        if not dims or not rates:
            raise ValueError(f"heads need kinds of features and rates, got {list(dims)} and {list(rates)}")
        self.kinds, self.rates, self.classes = tuple(dims), tuple(rates), classes
        self.weight: dict[str, Tensor] = {}
        self.bias: dict[str, Tensor] = {}
        for kind, dim in dims.items():
            word = blake2b(f"{seed}/{kind}".encode(), digest_size=8).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(word, "big") >> 1)
            first = init_std * torch.randn(classes, dim, generator=generator)
            self.weight[kind] = first.repeat(len(rates), 1, 1).to(device)
            self.bias[kind] = torch.zeros(len(rates), classes, device=device)
        self._leaves = [(tensor, [nn.Parameter(tensor[r]) for r in range(len(rates))])
                        for kind in self.kinds for tensor in (self.weight[kind], self.bias[kind])]
        self._optimizers = [build_optimizer(nn.ParameterList([views[r] for _, views in self._leaves]), optimizer)
                            for r in range(len(rates))]
        for tensor, _ in self._leaves:
            tensor.requires_grad_()
        self.norms = {kind: Standardize(dim, eps).to(device) for kind, dim in dims.items()} if norm else {}

    def names(self) -> list[tuple[str, float]]:
        """(kind, rate) of every head, in the order of losses and scores."""
        return [(kind, rate) for kind in self.kinds for rate in self.rates]

    def step(self, features: Mapping[str, Tensor], label: Tensor, share: float) -> Tensor:
        """One update of every head; (heads,) their losses before it. features: (B, D) of each kind; label (B,) int64; share: of
        the peak rates. Several ranks: each gives as many rows, and the update is that of all rows together."""
        losses = []
        for kind in self.kinds:
            x = features[kind].to(self.weight[kind].dtype)
            if self.norms:
                x = self.norms[kind].train()(x)
            logits = self._logits(kind, x)
            each = F.cross_entropy(logits.flatten(0, 1), label.repeat_interleave(len(self.rates)), reduction="none")
            losses.append(each.view(len(x), -1).mean(0))
        loss = torch.cat(losses)
        loss.sum().backward()
        for tensor, views in self._leaves:
            assert tensor.grad is not None
            if world_size() > 1:
                dist.all_reduce(tensor.grad)
                tensor.grad /= world_size()
            for view, gradient in zip(views, tensor.grad, strict=True):
                view.grad = gradient
        for optimizer, rate in zip(self._optimizers, self.rates, strict=True):
            set_rate(optimizer, rate * share)
            optimizer.step()
        for tensor, _ in self._leaves:
            tensor.grad = None
        return loss.detach()

    @torch.no_grad()
    def scores(self, features: Mapping[str, Tensor]) -> Tensor:
        """(N, heads, classes), in the order of `names`, where the heads are. features: (N, D) of each kind, anywhere."""
        scores = []
        for kind in self.kinds:
            x = features[kind].to(self.weight[kind])
            scores.append(self._logits(kind, self.norms[kind].eval()(x) if self.norms else x))
        return torch.cat(scores, 1)

    def _logits(self, kind: str, x: Tensor) -> Tensor:
        """(B, R, classes), in full precision also inside a backbone's autocast: bfloat16 would make answers of equal scores."""
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x, self.weight[kind].flatten(0, 1), self.bias[kind].flatten()).unflatten(1, (-1, self.classes))

    def state_dict(self) -> dict[str, Any]:
        return {"weight": {k: v.detach().cpu().clone() for k, v in self.weight.items()},
                "bias": {k: v.detach().cpu().clone() for k, v in self.bias.items()},
                "norms": {kind: norm.state_dict() for kind, norm in self.norms.items()},
                "optimizers": [optimizer.state_dict() for optimizer in self._optimizers]}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for kind in self.kinds:  # into the tensors that are there: the optimizers hold views of them
            self.weight[kind].copy_(state["weight"][kind])
            self.bias[kind].copy_(state["bias"][kind])
            if self.norms:
                self.norms[kind].load_state_dict(state["norms"][kind])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)


class Standardize(nn.Module):
    """Batch norm without affine, for features (N, D) that need no gradient: with the mean and variance of the batch while
    training, of all ranks together; with their running means (momentum 0.1, unbiased variance) otherwise."""

    mean: Tensor
    var: Tensor

    def __init__(self, dim: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("var", torch.ones(dim))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.mean, self.var
        if self.training:
            count = len(x) * world_size()
            mean = _summed(x.sum(0)) / count
            var = _summed((x - mean).square().sum(0)) / count
            self.mean += self.momentum * (mean - self.mean)
            self.var += self.momentum * (var * (count / max(count - 1, 1)) - self.var)
        return (x - mean) * (var + self.eps).rsqrt()


def _summed(x: Tensor) -> Tensor:
    if world_size() > 1:
        dist.all_reduce(x)
    return x
