"""The process a run lives in: its rank, its device, its share of the cores, and how it is asked to stop."""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from . import meeting
from .stopping import Stop as Stop
from .stopping import stop_signals as stop_signals


@dataclass(frozen=True)
class World:
    """Who this process is among those that train together. rank 0 alone writes and prints."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    device: torch.device


def start(device: str) -> World:
    """Read torchrun's environment (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE) and, above one process, join the group:
    gloo on the CPU, nccl beside it on CUDA. device: "auto", "cpu" or "cuda"."""
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local_rank, local_size = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda, but torch finds no CUDA device; use device=cpu or device=auto")
    use_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    chosen = torch.device("cuda", local_rank % torch.cuda.device_count()) if use_cuda else torch.device("cpu")
    if use_cuda:
        torch.cuda.set_device(chosen)
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if use_cuda else "gloo", rank=rank, world_size=size,
                                store=meeting.store(rank, size))
    return World(rank, size, local_rank, local_size, chosen)


def leave(world: World) -> None:
    if world.size > 1 and dist.is_initialized():
        dist.destroy_process_group()


def cores() -> int:
    """Cores this process may run on; fewer than the machine's inside a container that was given some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split_cores(available: int, ranks: int, on_cuda: bool, torch_threads: int | None,
                render_threads: int | None) -> tuple[int, int]:
    """(threads of torch, threads of rendering) of each rank; a number that is given stands.

    A rank has available / ranks cores, at least one. On CUDA rendering takes them all. On the CPU rendering takes a
    quarter, at least one, and torch the rest; but with 2 cores torch takes both, since a core kept for rendering alone
    would mostly idle: a small network costs many times what its views cost.
    """
    own = max(available // ranks, 1)
    if on_cuda:
        return torch_threads or max(own // 2, 1), render_threads or own
    render = render_threads or max(own // 4, 1)
    return torch_threads or (own if own <= 2 else max(own - render, 1)), render


def seed_all(seed: int, rank: int | None = None) -> None:
    """Seed torch, NumPy and Python: all ranks alike (rank None, for the first weights), or each apart (for the steps)."""
    words = np.random.SeedSequence([seed] if rank is None else [seed, rank + 1]).generate_state(3)
    torch.manual_seed(int(words[0]))
    np.random.seed(int(words[1]))
    random.seed(int(words[2]))


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """While inside, no other run may write to the folder. The operating system lets go when the process ends, however it
    ends. Raises ValueError where another run is at work; a file system without locks is taken at its word."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another run is writing to {folder}; wait for its end, or choose another out=") from None
        except OSError:
            pass
        yield


def agree(world: World, *flags: int) -> tuple[int, ...]:
    """The largest value of each flag over all ranks, so that all leave the loop, or save, at the same step."""
    if world.size == 1:
        return flags
    both = torch.tensor(flags, dtype=torch.int64)
    dist.all_reduce(both, dist.ReduceOp.MAX)
    return tuple(both.tolist())


def gather(world: World, value: Any) -> list[Any]:
    """The values of all ranks, in order of rank, on every rank."""
    if world.size == 1:
        return [value]
    values: list[Any] = [None] * world.size
    dist.all_gather_object(values, value)
    return values


def mean_over_ranks(world: World, values: dict[str, float]) -> dict[str, float]:
    if world.size == 1:
        return values
    total = torch.tensor(list(values.values()), dtype=torch.float64)
    dist.all_reduce(total)
    return dict(zip(values, (total / world.size).tolist(), strict=True))
