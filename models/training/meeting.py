"""How the ranks of a job find each other, also those of one that torchrun has started again."""

from __future__ import annotations

import json
import os
import time
import uuid
from datetime import timedelta

import torch.distributed as dist

TIMEOUT_S = 1800.0
"""How long ranks wait for each other at the start, as torch's groups do: one of them may still be importing."""
LOOK_S = 0.05
NOW = "viewmill/now"


def store(rank: int, size: int, timeout_s: float = TIMEOUT_S) -> dist.Store | None:
    """What this start's ranks tell each other at the beginning; None where torch makes a store of its own.

    torchrun keeps one store for all its attempts, and with it the addresses of ranks that are gone: ranks started again would
    call those. Nor does its count of restarts tell attempts apart, since a node that joins late begins to count at zero. So
    rank 0 names the attempt, and a name counts once all ranks that run now have answered to it. Raises RuntimeError, one line,
    where they do not meet in time.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    shared = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False,
                           timeout=timedelta(seconds=timeout_s))
    name = meet(shared, rank, size, timeout_s)
    return dist.PrefixStore(f"viewmill/{name}", shared)


def meet(shared: dist.Store, rank: int, size: int, timeout_s: float) -> str:
    """A name that the `size` processes which call this at about the same time agree on, whatever earlier ones left in the store.
    Raises RuntimeError, one line, where they do not in timeout_s."""
    until = time.monotonic() + timeout_s
    own = uuid.uuid4().hex
    if rank == 0:
        shared.set(NOW, own)
        keys = {other: f"viewmill/{own}/here/{other}" for other in range(1, size)}
        while away := [other for other, key in keys.items() if not shared.check([key])]:
            _wait(until, f"rank{'s' if len(away) > 1 else ''} {', '.join(map(str, away))} did not start", timeout_s)
        shared.set(f"viewmill/{own}/all", json.dumps([shared.get(key).decode() for key in keys.values()]))
        return own
    while True:
        name = shared.get(NOW).decode() if shared.check([NOW]) else ""
        if name:
            if not shared.check([f"viewmill/{name}/all"]):
                shared.set(f"viewmill/{name}/here/{rank}", own)
            elif own in json.loads(shared.get(f"viewmill/{name}/all")):
                return name
        _wait(until, "rank 0 did not start", timeout_s)


def _wait(until: float, what: str, timeout_s: float) -> None:
    if time.monotonic() > until:
        raise RuntimeError(f"{what} within {timeout_s:g} s, so this rank does not either")
    time.sleep(LOOK_S)
