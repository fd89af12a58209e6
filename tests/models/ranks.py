"""A method on several ranks beside one process with the whole batch: shared by the tests of methods that tie images together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from viewmill.models.distributed import leave_alone, rank, world_size
from viewmill.models.method import Method
from viewmill.models.rank_norm import over_ranks
from viewmill.models.rows import whole_rows
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn
from viewmill.pipelines.batch import Batch

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
SGD = OptimizerConfig(name="sgd", lr=0.1, scaling="none", weight_decay=1e-4, exclude="none")


@dataclass
class Told:
    """values: of each step, in the order of the method's. gradients: the last step's, as DDP leaves them. state: afterwards; but
    for batch norm's statistics, where each rank has its own. rows: of rank 0, what ranks share out among them."""

    values: list[list[float]]
    gradients: list[Tensor]
    state: dict[str, Tensor]
    rows: dict[str, Tensor]


def steps_of(method: Method, batch: Callable[[int, slice], Batch], images: int, *, steps: int = 2, rate: float = 0.1,
             sync_bn: bool = True) -> Told:
    """Train a few steps: alone on all images, on a rank of W on its part of them, W parts as equal as they can be. batch(step,
    which): those images of a step. The method is on each rank built alike. sync_bn: batch norm over all ranks."""
    own = slice(rank() * images // world_size(), (rank() + 1) * images // world_size())
    model: nn.Module = method
    if dist.is_initialized():
        if sync_bn:
            over_ranks(method, torch.device("cpu"))
        leave_alone(method)
        training = {name: part.training for name, part in method.named_modules()}
        model = nn.parallel.DistributedDataParallel(method)
        for name, part in method.named_modules():
            part.training = training[name]  # which wrapping sets anew
    optimizer, values = build_optimizer(method, SGD), []
    for step in range(steps):
        method.before_step(step)
        found = model(batch(step, own))
        learn(method, optimizer, found["loss"], rate, None, 0.5)
        values.append([float(v.detach()) for v in found.values()])
    state = {name: value for name, value in method.state_dict().items()
             if isinstance(value, Tensor) and (sync_bn or not name.endswith(STATISTICS))}
    return Told(values, [p.grad for p in method.parameters() if p.grad is not None], state, whole_rows(method))


def assert_alike(alone: Told, ranks: Sequence[Told], *, first: int | None = None) -> None:
    """The mean over ranks of every value is that of the whole batch; gradients, weights and whatever a method keeps are the same
    on each. first: so many of the values, the loss among them; further ones may be each rank's own."""
    told, expected = torch.tensor([of.values for of in ranks]).mean(0), torch.tensor(alone.values)
    torch.testing.assert_close(told[:, :first], expected[:, :first], rtol=1e-4, atol=1e-5)
    assert any(float(gradient.abs().sum()) > 0 for gradient in alone.gradients)
    most = max(float(gradient.abs().max()) for gradient in alone.gradients)
    for of in ranks:
        for mine, gradient in zip(alone.gradients, of.gradients, strict=True):
            # Through many norms of few images float32 keeps four digits of the largest. What a norm behind it makes 0, such as
            # a bias's, is what rounding leaves of the whole network's.
            atol = 1e-5 + 1e-3 * float(mine.abs().max()) + 3e-4 * most
            torch.testing.assert_close(gradient, mine, rtol=1e-3, atol=atol)
        for name, value in alone.state.items():
            torch.testing.assert_close(of.state[name], value, rtol=1e-4, atol=1e-4)  # steps of a tenth of such a gradient
    for name, rows in alone.rows.items():
        torch.testing.assert_close(ranks[0].rows[name], rows, rtol=1e-4, atol=1e-5)
