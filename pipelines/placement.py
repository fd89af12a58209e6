"""Where this process stands: its rank among trainers, the cores it may use, whether it may start a process."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import sys
from pathlib import Path

from .memory import groups


def rank_and_world_size() -> tuple[int, int]:
    """torch.distributed's where it has been initialized, else (0, 1): environment variables alone start no group."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def ranks_here(rank: int, world_size: int) -> range:
    """The ranks of this host, this one among them, as torchrun numbers them; this one alone where nobody says."""
    said = os.environ.get("LOCAL_WORLD_SIZE", "1")
    count = max(1, min(int(said) if said.isdigit() else 1, world_size))
    first = rank // count * count
    return range(first, min(first + count, world_size))


def cores() -> int:
    """Cores that this process may use: its affinity mask's or its container's quota, whichever is less, shared with the other
    ranks that torchrun started here; one at least."""
    count: float = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = min([count, *map(_quota, groups("cpu"))])
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, int(count) // max(1, int(ranks))) if ranks.isdigit() else max(1, int(count))


def _quota(folder: Path) -> float:
    """Cores' worth of time that a control group may use, of either version; infinite where it sets no bound. Of 1.5 cores one is
    taken: a second thread would be stopped half of the time, with what it holds."""
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)  # "max" is no number
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        return quota_us / int((folder / "cpu.cfs_period_us").read_text()) if quota_us > 0 else math.inf
    return math.inf


def is_worker() -> bool:
    """Whether this is a worker of a torch DataLoader, or another process that may have no children and is one of many."""
    worker = sys.modules.get("torch.utils.data._utils.worker")
    return multiprocessing.current_process().daemon or (worker is not None and worker.get_worker_info() is not None)
