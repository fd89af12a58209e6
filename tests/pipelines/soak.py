"""A long run and what it takes: `python -m tests.pipelines.soak DIRECTORY SAMPLES`; prints one JSON line.

Images of 32 px in four tars, 1 in 100 damaged, through SimCLR's views in a sidecar; what trainer and sidecar hold is read after
every 4,000 samples, each shared page divided among the processes that map it.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import numpy as np
from viewmill import Loader

from .shards import encoded, picture, write_tar

WINDOW = 4_000
"""Samples."""


def shards(directory: Path, count: int = 4_000) -> str:
    for shard in range(4):
        files = []
        for i in range(shard * count // 4, (shard + 1) * count // 4):
            content = encoded(picture(32, 32, i), quality=90)
            files.append((f"{i:05d}.jpg", content[:len(content) // 2] if i % 100 == 3 else content))
        write_tar(directory / f"part-{shard}.tar", files)
    return str(directory / "part-{0..3}.tar")


def held_kib(pid: int | str) -> int:
    rollup = Path("/proc", str(pid), "smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


def main(directory: Path, samples: int) -> dict[str, float]:
    logging.disable(logging.WARNING)
    held: list[tuple[int, int]] = []
    with Loader(shards(directory), "simclr_cifar", 250, threads=2, epochs=None, max_bad=0.5) as loader:
        for number, batch in enumerate(loader, 1):
            batch.views["global"].mean()  # a trainer reads every page
            if number * 250 % WINDOW == 0:
                held.append((held_kib("self"), held_kib(loader._feed.process_id)))
            if number * 250 == samples:
                break
        stats = loader.stats()
    return {"samples": samples, "seconds": stats["total_seconds"], "damaged": sum(stats["substituted"].values()),
            **growth(np.array(held))}


def growth(held: np.ndarray) -> dict[str, float]:
    """held (W, 2): KiB of trainer and sidecar after each window. The first tenth warms up; of the others, the mean of the last
    quarter is compared with that of the first, and a line is laid through all."""
    warm = held[max(1, len(held) // 10):].astype(float)
    quarter = max(1, len(warm) // 4)
    both = warm.sum(1)
    first, last = both[:quarter].mean(), both[-quarter:].mean()
    slope = np.polyfit(np.arange(len(both)), both, 1)[0] * 1024 / WINDOW
    return {"trainer_mib": warm[-1, 0] / 1024, "sidecar_mib": warm[-1, 1] / 1024, "growth": last / first - 1,
            "bytes_per_sample": slope}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
