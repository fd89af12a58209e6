"""Order at scale, measured: `python -m tests.pipelines.order_report [--quick]` from the repository's root, .dev on PYTHONPATH.

Four parts: from nothing to a first batch's indices of 100,000 shards; how evenly ranks share an epoch; what nodes fetch over
their share; how well orders mix sorted data, beside webdataset's buffer where that is installed.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import tempfile
from pathlib import Path

from .order_fetched import balance, of_all_nodes
from .order_scale import measured, write_simulated
from .shuffle_quality import Quality, Sorted, between_epochs, expected_classes, ours, webdataset

PLANS = ((8, 256), (16, 256), (64, 256), (256, 256), (24, 256), (24, 264), (40, 256), (40, 280))
"""World size and lanes."""


def scale(shards: int, rounds: int) -> None:
    print(f"## From nothing to a first batch's indices: {shards:,} shards of 10,000 samples")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shards.catalogue"
        print(f"catalogue: {write_simulated(path, shards, 10_000):,} bytes")
        for rank, world_size in ((5, 64), (0, 1)):
            found = [measured(path, rank, world_size) for _ in range(rounds)]
            seconds = sorted(each["seconds"] for each in found)
            traced = measured(path, rank, world_size, trace=True)["mib"]
            stages = ", ".join(f"{name} {seconds * 1000:.0f}" for name, seconds in found[0]["stages"].items())
            print(f"rank {rank} of {world_size}: {statistics.median(seconds):.2f} s ({seconds[0]:.2f} to {seconds[-1]:.2f}), "
                  f"peak +{max(each['mib'] for each in found):.0f} MiB by the system, {traced:.0f} MiB allocated; ms: {stages}; "
                  f"pickled {found[0]['pickle_bytes']:,} bytes")


def fetching(sizes: tuple[int, ...]) -> None:
    print("\n## Fetched by a node of 8 ranks / its share of the shards (worst of up to 8 nodes)")
    print("| world size | lanes | " + " | ".join(f"{each:,}" for each in sizes) + " |")
    print("|---" * (len(sizes) + 2) + "|")
    for world_size, lanes in PLANS:
        found = [of_all_nodes(shards, world_size, lanes) for shards in sizes]
        print(f"| {world_size} | {lanes} | " + " | ".join(f"{each.ratio:.3f}" for each in found) + " |", flush=True)


def mixing(sets: tuple[Sorted, ...], buffers: tuple[int, ...], seeds: int) -> None:
    for data in sets:
        print(f"\n## Mixing {data.classes} classes of {data.each}, sorted, in {data.shards:,} shards; batches of 256; "
              f"{expected_classes(data):.1f} classes a batch by chance; mean (lowest to highest of {seeds} seeds x 2 epochs)")
        print("| order | classes a batch | lowest 1 % | same shard / chance | same class / chance | chi-square / df | missing | "
              "twice | correlation of epochs | neighbours kept / chance |")
        print("|---" * 10 + "|")
        arms = {name: lambda seed, epoch, data=data, name=name: ours(data, name, seed, epoch)
                for name in ("full", "lanes", "none")}
        if importlib.util.find_spec("webdataset"):
            arms |= {f"webdataset, {workers} workers, buffer {size:,}":
                     lambda seed, epoch, data=data, size=size, workers=workers: webdataset(data, size, workers, seed, epoch)
                     for workers in (8,) for size in buffers}
        for name, arm in arms.items():
            found, between = [], []
            for seed in range(1 if name == "none" else seeds):
                epochs = [arm(seed, epoch) for epoch in range(2)]
                found += [Quality.of(data, each) for each in epochs]
                between.append(between_epochs(*epochs))
            cells = [_spread([getattr(each, field) for each in found], digits) for field, digits in (
                ("classes", 1), ("classes_low", 0), ("shard_pairs", 2), ("class_pairs", 2), ("chi_square", 2), ("missing", 0),
                ("twice", 0))]
            cells += [_spread([each[i] for each in between], 3 if i == 0 else 2) for i in range(2)]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def _spread(values: list[float], digits: int) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{statistics.mean(values):.{digits}f} ({low} to {high})"


def main(quick: bool) -> None:
    scale(1000 if quick else 100_000, 1 if quick else 7)
    epochs, worst = balance()
    print(f"\n## Balance\n{epochs} epochs, worlds of 1 to 96: ranks differ by at most {worst} sample")
    fetching((1000,) if quick else (1000, 3000, 3500, 10_000, 30_000, 100_000))
    if quick:
        mixing((Sorted(100, 80, 40),), (500,), 1)
    else:
        mixing((Sorted(1000, 1280, 128), Sorted(1000, 1280, 4000)), (1000, 5000, 10_000), 3)


if __name__ == "__main__":
    main("--quick" in sys.argv)
