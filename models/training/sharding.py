"""Weights, gradients and an optimizer's state shared out over the ranks: torch's FSDP2 around a method's blocks.

Each tensor is cut along its first axis, by itself, over all ranks: a teacher's parts therefore lie where the student's do, and
its average needs no other rank. Whole tensors exist where a block runs, and nowhere else; `pieces` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from ..distributed import Kept
from ..method import Method
from ..teachers import Teacher
from ..token_targets import TokenTargets
from ..vector_quantizer import VectorQuantizer
from .blocks import blocks_of
from .config import RunConfig
from .process import World

ENTRANCES = ("features", "embed", "observe")
"""By which a run goes into a method, besides forward."""


REFUSED = {
    "deepcluster": "each clustering gives its classifier new weights, outside of a step",
    "deepcluster_v2": "each clustering gives its prototypes new weights, outside of a step",
    "context_encoder": "beside its adversary this was not tried",
    "lci": "beside its adversary this was not tried",
}
"""Methods that parallel=fsdp does not train, with the reason."""


def shard(method: Method, config: RunConfig, world: World) -> None:
    """Share a method's parameters out over the ranks, in place: each block by itself, the rest together. Every rank holds the
    same weights before. Names and order of parameters stay; an optimizer is to be made afterwards. Raises ValueError as
    `refuse_unsharded`."""
    refuse_unsharded(method, config)
    for parameter in method.parameters():  # FSDP2 takes no other memory order
        parameter.data = parameter.data.contiguous()
    mesh = init_device_mesh(world.device.type, (world.size,))
    # A tokenizer learns in a pass of its own, without this backward, and a quantizer's entries move in the forward pass: each
    # rank has these whole. A teacher's attention is read from inside its blocks.
    left = {parameter for part in method.modules() if isinstance(part, TokenTargets | VectorQuantizer)
            for parameter in part.parameters()}
    opened = {inner for part in method.modules() if isinstance(part, Teacher | TokenTargets) for inner in part.modules()}
    for block in blocks_of(method).values():
        if block not in opened:
            fully_shard(block, mesh=mesh)
    fully_shard(method, mesh=mesh, ignored_params=left)
    _send_buffers_along(method)
    within = _Within(method)
    for name in ENTRANCES:
        setattr(method, name, _entrance(method, name, within))


def refuse_unsharded(method: nn.Module, config: RunConfig) -> None:
    """Raise ValueError, one line, where a run cannot be shared out: the reason, and the way out."""
    if (reason := REFUSED.get(config.method)) is not None:
        raise ValueError(f"parallel=fsdp is not for {config.method}: {reason}; use parallel=ddp")
    if config.precision == "fp16":
        raise ValueError("parallel=fsdp with precision=fp16 would skip a step on one rank alone, whose part overflowed; use "
                         "precision=bf16, or parallel=ddp")
    scalars = [name for name, value in method.named_parameters() if value.ndim == 0]
    if scalars:
        raise ValueError(f"parallel=fsdp cuts tensors along their first axis, and {scalars[0]} of {type(method).__name__} is a "
                         "single number; use parallel=ddp")


class _Within:
    """Whether the method is in its forward pass."""

    def __init__(self, method: nn.Module) -> None:
        self.now = False
        method.register_forward_pre_hook(lambda *_: setattr(self, "now", True))
        method.register_forward_hook(lambda *_: setattr(self, "now", False), always_call=True)


def _entrance(method: Any, name: str, within: _Within) -> Callable[..., Any]:
    """The method's own function, with the weights whole meanwhile; called from within forward, where they are, as it is."""
    inside = getattr(method, name)
    register_fsdp_forward_method(method, name)
    outside = getattr(method, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        if within.now:
            return inside(*args, **kwargs)
        within.now = True  # one entrance may lead through another
        try:
            return outside(*args, **kwargs)
        finally:
            within.now = False
            method.reshard()  # no backward pass does it: hooks would then change whole tensors, which are thrown away

    return call


def _send_buffers_along(method: nn.Module) -> None:
    """Before each forward pass every rank takes rank 0's buffers, as DistributedDataParallel has it, but for those that are
    `Kept`."""
    kept = {id(buffer) for part in method.modules() if isinstance(part, Kept) for buffer in part.buffers(recurse=False)}

    def send(module: nn.Module, args: Any) -> None:
        alike: dict[torch.dtype, list[Tensor]] = {}
        for buffer in module.buffers():
            if id(buffer) not in kept and buffer.numel():
                alike.setdefault(buffer.dtype, []).append(buffer)
        with torch.no_grad():
            for buffers in alike.values():
                flat = torch.cat([buffer.reshape(-1) for buffer in buffers])
                dist.broadcast(flat, 0)
                if dist.get_rank():
                    for buffer, values in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
                        buffer.copy_(values.view_as(buffer))

    method.register_forward_pre_hook(send)
