"""What a run of several ranks goes on from: one checkpoint for all of them, whole on each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from . import checkpoint, process


def find(out: Path, resume: str, world: process.World, say: Callable[[str], None] = checkpoint.tell
         ) -> tuple[Path, dict[str, Any]] | None:
    """As `checkpoint.find`, by all ranks together: rank 0 chooses and says so, the others take the same, from the same place or,
    where they do not see it, from rank 0. Raises ValueError on all ranks alike."""
    found: tuple[Path, dict[str, Any]] | None = None
    problem = ""
    if world.rank == 0:
        try:
            found = checkpoint.find(out, resume, say)
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
            found = path, checkpoint.load(path, check=False)
        except ValueError:
            found = None  # on a disk of rank 0's machine alone
    if not all(process.gather(world, found is not None)):
        held = [found[1] if world.rank == 0 and found is not None else None]
        dist.broadcast_object_list(held, src=0, device=torch.device("cpu"))
        found = path, held[0]  # type: ignore[assignment]
    return found
