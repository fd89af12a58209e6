"""What a run of several ranks goes on from: one checkpoint for all of them, whole on each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from . import checkpoint, process


def find(out: Path, resume: str, world: process.World, method: nn.Module, optimizer: torch.optim.Optimizer,
         say: Callable[[str], None] = checkpoint.tell) -> tuple[Path, dict[str, Any]] | None:
    """As `checkpoint.find`, by all ranks together: rank 0 chooses and says so, the others take the same, from the same place or,
    where they do not see it, from rank 0. Of a checkpoint in parts each reads of the method's and the optimizer's tensors what it
    holds itself. Raises ValueError on all ranks alike."""
    like = held(method, optimizer)
    found: tuple[Path, dict[str, Any]] | None = None
    problem = ""
    if world.rank == 0:
        try:
            found = checkpoint.find(out, resume, say, like)
        except ValueError as error:
            problem = str(error)
    if world.size == 1:
        if problem:
            raise ValueError(problem)
        return found
    problem, path = process.gather(world, (problem, found and found[0]))[0]
    if problem:
        raise ValueError(problem)
    if path is None:
        return None
    if world.rank:
        try:
            found = path, checkpoint.load(path, like, check=False)
        except ValueError:
            found = None  # on a disk of rank 0's machine alone
    seen = process.gather(world, found is not None)
    if not all(seen):
        if path.is_dir():
            raise ValueError(f"rank {seen.index(False)} cannot read {path}, of which each rank reads its part; have out= on a "
                             "disk that all ranks share")
        sent = [found[1] if world.rank == 0 and found is not None else None]
        dist.broadcast_object_list(sent, src=0, device=torch.device("cpu"))
        found = path, sent[0]  # type: ignore[assignment]
    return found


def held(method: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[str, torch.Size], Tensor | None]:
    """What a checkpoint's tensors are read into: like those of this method that are shared out, and for an optimizer's moments
    like their parameter; None for whole ones."""
    shared = {f"model/{name}": value for name, value in method.state_dict().items()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, parameter in enumerate(parameters):
        shared[f"optimizer/state/{number}"] = parameter

    def like(name: str, size: torch.Size) -> Tensor | None:
        known = shared.get(name if name.startswith("model/") else name.rpartition("/")[0])
        return torch.empty_like(known) if isinstance(known, DTensor) and known.shape == size else None

    return like
