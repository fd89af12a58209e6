"""From nothing to a first batch's indices, of a simulated catalogue, in a process of its own:

    python -m tests.pipelines.order_scale CATALOGUE RANK WORLD_SIZE [trace]      prints one JSON line

What a run does before its first read: the catalogue's bytes, its names looked over, its fingerprint, order and table of shards,
both pickled for the sidecar and back, the first shard that is needed, and the first batch's samples. Imports come before that.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
from viewmill.pipelines.catalogue import Catalogue, ShardEntry, checked
from viewmill.pipelines.needs import needs
from viewmill.pipelines.order import Order
from viewmill.pipelines.sources.table import ShardTable
from viewmill.pipelines.state import step_positions

REPOSITORY = Path(__file__).resolve().parents[2]
BATCH_SIZE = 256


def write_simulated(path: Path, shards: int, samples: int) -> int:
    """A catalogue of shards with so many samples each, digests random but the same each time; returns its bytes."""
    rng = np.random.default_rng(0)
    entries = [ShardEntry(f"train-{i:06d}.tar", samples, samples * 110_000, samples * 40, True, rng.bytes(16).hex(),
                          rng.bytes(32).hex()) for i in range(shards)]
    return path.write_bytes(Catalogue.of(entries).to_bytes("simulated"))


class _Nowhere:
    """No index is ever loaded: sizes and names are what is measured."""

    def load(self, shard: int, trusted: bool) -> Any:
        raise NotImplementedError

    def prepare(self, shards: Any) -> None:
        pass


def first_batch(path: Path, rank: int, world_size: int) -> tuple[dict[str, float], np.ndarray, int]:
    """Seconds of each stage, the first batch's samples, and the bytes of the pickle."""
    began, stages = time.perf_counter(), {}

    def lap(stage: str) -> None:
        nonlocal began
        now = time.perf_counter()
        stages[stage], began = now - began, now

    catalogue = checked(Catalogue.from_bytes(path.read_bytes()))
    lap("catalogue")
    found = catalogue.select(list(catalogue.names)).fingerprint
    lap("names and fingerprint")
    order = Order(catalogue.shard_sizes, 0, shuffle="lanes")
    table = ShardTable(catalogue.shard_sizes, catalogue.names, _Nowhere())
    lap("order and table")
    data = pickle.dumps((order, table, found))
    order, table, _ = pickle.loads(data)
    lap("pickled and back")
    first = next(needs(order, 0, rank, world_size, 0, len(order)))
    assert first.position == rank
    lap("first need")
    index = order.index(0, step_positions(0, BATCH_SIZE * world_size, rank, world_size, len(order)))
    assert len({table.locate(int(i))[0] for i in index}) <= len(index)
    lap("first batch's samples")
    return stages, index, len(data)


def measured(path: Path, rank: int, world_size: int, trace: bool = False) -> dict[str, Any]:
    """The same in a fresh process: {"seconds", "stages", "pickle_bytes", "mib": growth of the peak of memory over what imports
    took, by the system, or, with trace, of Python's and NumPy's allocations}."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / ".dev"), str(REPOSITORY)])}
    command = [sys.executable, "-m", "tests.pipelines.order_scale", str(path), str(rank), str(world_size)]
    done = subprocess.run([*command, *(["trace"] if trace else [])], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _status_kib(name: str) -> int:
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))


def main(path: Path, rank: int, world_size: int, trace: bool) -> dict[str, Any]:
    if trace:
        tracemalloc.start()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
        before = _status_kib("VmRSS")
    stages, _, pickled = first_batch(path, rank, world_size)
    mib = tracemalloc.get_traced_memory()[1] / 2**20 if trace else (_status_kib("VmHWM") - before) / 1024
    return {"seconds": sum(stages.values()), "stages": stages, "pickle_bytes": pickled, "mib": mib}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), "trace" in sys.argv)))
