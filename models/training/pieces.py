"""Tensors of which each rank holds a piece, as FSDP2 leaves them: how long they are, how they come into a checkpoint and back.

Everything here takes whole tensors too, and then does nothing of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from ..method import Method


def is_sharded(module: nn.Module) -> bool:
    return isinstance(module, FSDPModule)


@contextmanager
def without_exchange(model: Any) -> Iterator[None]:
    """Gradients add up on each rank by itself meanwhile, under DistributedDataParallel and where weights are shared out."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        with model.no_sync():
            yield
    elif is_sharded(model):
        model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            model.set_requires_gradient_sync(True)
    else:
        yield


def local(value: Tensor) -> Tensor:
    """This rank's part of a tensor, sharing its memory; a tensor that is not shared out, itself."""
    return value.to_local() if isinstance(value, DTensor) else value


def whole_norms(values: Sequence[Tensor]) -> Tensor:
    """(len(values),) the 2-norm of each, whole, of tensors of which each rank may hold a part; one reduction for all of them.
    Ranks call it together."""
    parts = torch.stack(torch._foreach_norm([local(value).float() for value in values]))
    shared = [isinstance(value, DTensor) for value in values]
    if not any(shared):
        return parts
    squares = parts.square()
    counted = torch.tensor(shared, device=squares.device)
    summed = torch.where(counted, squares, 0.0)
    dist.all_reduce(summed)
    return torch.where(counted, summed, squares).sqrt()


class Whole:
    """The state of something whose tensors may be shared out, put together as of now: what `state_dict` gives is whole."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    def state_dict(self) -> dict[str, Any]:
        return self._state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._state = state


def whole(stateful: nn.Module | torch.optim.Optimizer) -> Any:
    """A method or an optimizer for a checkpoint: itself, or where its tensors are shared out, a `Whole` of it. Ranks call it
    together, and each gets all of it, on the CPU."""
    state = stateful.state_dict()
    return Whole(_whole(state)) if any(isinstance(value, DTensor) for value in _leaves(state)) else stateful


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, Mapping):
        for value in tree.values():
            yield from _leaves(value)
    else:
        yield tree


def _whole(tree: Any) -> Any:
    if isinstance(tree, DTensor):
        return tree.full_tensor().cpu()
    return {key: _whole(value) for key, value in tree.items()} if isinstance(tree, Mapping) else tree


def alone(method: Method, fresh: Callable[[], Method], here: bool) -> Method:
    """The method for work that one rank does while the others wait: itself, or where it is shared out, a whole copy of it on the
    ranks where here is true. Ranks call it together. fresh: a method built alike, not shared out."""
    if not is_sharded(method):
        return method
    state = _whole(method.state_dict())
    if not here:
        return method
    copy = fresh()
    copy.load_state_dict(state)
    return copy.train(method.training)


def take_weights(method: nn.Module, state: Mapping[str, Any]) -> None:
    """`load_state_dict` of whole tensors into a method that may be shared out."""
    own = method.state_dict() if is_sharded(method) else {}
    method.load_state_dict({name: part_like(value, own.get(name)) for name, value in state.items()})


def take_moments(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """`load_state_dict` of whole tensors into an optimizer whose parameters may be shared out."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if any(isinstance(parameter, DTensor) for parameter in parameters):
        state = {**state, "state": {number: {name: part_like(value, parameters[number]) for name, value in of.items()}
                                    for number, of in state["state"].items()}}
    optimizer.load_state_dict(state)


def part_like(value: Any, like: Any) -> Any:
    """A whole tensor as `like` has it, if it is shared out and of that shape; anything else as it is."""
    if isinstance(like, DTensor) and isinstance(value, Tensor) and not isinstance(value, DTensor) and value.shape == like.shape:
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    return value

