"""Where this process stands: its rank among trainers, the cores it may use, whether it may start a process."""

from __future__ import annotations

import multiprocessing
import os
import sys


def rank_and_world_size() -> tuple[int, int]:
    """torch.distributed's where it has been initialized, else (0, 1): environment variables alone start no group."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def cores() -> int:
    """Cores that this process may use: its affinity mask's, shared with the other ranks that torchrun started here."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, count // max(1, int(ranks))) if ranks.isdigit() else count


def is_worker() -> bool:
    """Whether this is a worker of a torch DataLoader, or another process that may have no children and is one of many."""
    worker = sys.modules.get("torch.utils.data._utils.worker")
    return multiprocessing.current_process().daemon or (worker is not None and worker.get_worker_info() is not None)
