"""Speed of local shards: `python -m tests.pipelines.local_speed PART ...` from the repository's root, its .dev on PYTHONPATH.

    many [SHARDS]                       seconds from Loader(...) to the first batch of 10,000 shards, with and without a catalogue
    first DATA                          the same of any data, once, as JSON; imports apart
    cached DATA RECIPE... [rounds=N]    the rate from files in the page cache over that of the same bytes held in memory, by turns
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
BATCH_SIZE = 64


def first(data: str) -> dict[str, float]:
    """Of this process: seconds of imports, of Loader(...), and from there to the first batch."""
    start = time.perf_counter()
    import torch  # noqa: F401
    import viewmill.pipelines.loader

    imported = time.perf_counter()
    with viewmill.pipelines.loader.Loader(data, "simclr_cifar", BATCH_SIZE, threads=2) as loader:
        opened = time.perf_counter()
        next(iter(loader))
        ended = time.perf_counter()
    return {"imports": imported - start, "loader": opened - imported, "batch": ended - opened}


def in_fresh_process(data: str) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / ".dev"), str(REPOSITORY)])}
    done = subprocess.run([sys.executable, "-m", "tests.pipelines.local_speed", "first", data], env=environment,
                          capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextlib.contextmanager
def small_shards(count: int, each: int = 4) -> Iterator[tuple[Path, Path]]:
    """Two folders of count shards of 32 px images, the first packed, the other bare tars; gone at the end, cached indexes too."""
    from viewmill.pipelines.catalogue import seal_shard, write_catalogue
    from viewmill.pipelines.index_file import forget
    from viewmill.pipelines.shard_writer import write_shard
    from viewmill.pipelines.survey import _cache_file

    from .shards import encoded, picture

    images = [encoded(picture(32, 32, i), quality=85) for i in range(64)]
    with tempfile.TemporaryDirectory() as folder:
        packed, bare = Path(folder, "packed"), Path(folder, "bare")
        for place in (packed, bare):
            for shard in range(count):
                write_shard(place / f"train-{shard:05d}.tar", [
                    (f"{shard * each + i:07d}", {"jpg": images[(shard * each + i) % 64], "cls": b"%d" % (i % 10)})
                    for i in range(each)])
        write_catalogue(packed, [seal_shard(path) for path in sorted(packed.glob("*.tar"))])
        paths = sorted(bare.glob("*.tar"))
        try:
            yield packed, bare
        finally:
            for path in paths:
                forget(path)
            _cache_file([os.path.abspath(path) for path in paths]).unlink(missing_ok=True)


def many(count: int, rounds: int = 5) -> None:
    with small_shards(count) as (packed, bare):
        for name, data in (("with a catalogue", str(packed)), ("without", str(bare / "*.tar"))):
            cold, *warm = [in_fresh_process(data) for _ in range(rounds + 1)]
            for label, runs in (("first run", [cold]), ("later runs", warm)):
                told = {key: [run[key] for run in runs] for key in cold}
                told["Loader(...) to batch"] = [run["loader"] + run["batch"] for run in runs]
                told["all"] = [sum(run.values()) for run in runs]
                print(f"{count:,} shards {name}, {label}: " + ", ".join(
                    f"{key} {statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"
                    for key, values in told.items()), flush=True)


def cached(data: str, recipe: str, rounds: int, batches: int = 24) -> None:
    """In every round both, in turns which comes first; batches that may have been ready are taken before the clock starts."""
    from viewmill import Loader
    from viewmill.pipelines.bench.processes import cpu_seconds, tree, wait_until_idle
    from viewmill.pipelines.source import open_source

    from .held import HeldSource

    source = open_source(data)
    kinds = {"cached": data, "held": HeldSource(source)}
    # What is held needs no reading ahead; the threads that do it would only cost.
    ahead = {"cached": 1 << 26, "held": 0}
    loaders = {name: Loader(each, recipe, BATCH_SIZE, epochs=None, threads=2, read_ahead_bytes=ahead[name])
               for name, each in kinds.items()}
    streams = {name: iter(loader) for name, loader in loaders.items()}
    clock: dict[str, list[float]] = {name: [] for name in kinds}
    cpu: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(rounds + 1):  # the first warms up
        for name in kinds if number % 2 else reversed(kinds):
            for _ in range(2 * loaders[name].prefetch + 2):
                next(streams[name])
            sidecar: Any = loaders[name]._feed
            before, start = cpu_seconds(tree(sidecar.process_id)), time.perf_counter()
            for _ in range(batches):
                next(streams[name])
            seconds, after = time.perf_counter() - start, cpu_seconds(tree(sidecar.process_id))
            wait_until_idle(sidecar.process_id)
            if number:
                clock[name].append(seconds)
                cpu[name].append((after or 0) - (before or 0))
    for loader in loaders.values():
        loader.close()
    images = BATCH_SIZE * batches
    rates = {name: images / statistics.median(each) for name, each in clock.items()}
    told = []
    for kind, seen in (("by the clock", clock), ("by processor time", cpu)):
        ratios = [held / files for held, files in zip(seen["held"], seen["cached"], strict=True)]
        told.append(f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) {kind}")
    print(f"{recipe}: {len(source)} images, {rounds} rounds of {images}: page cache {rates['cached']:.0f} images/s, held "
          f"{rates['held']:.0f}; rate from the page cache / held: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    part, *words = sys.argv[1:]
    options = dict(word.split("=", 1) for word in words if word.startswith("rounds="))
    words = [word for word in words if not word.startswith("rounds=")]
    if part == "many":
        many(int(words[0]) if words else 10_000)
    elif part == "first":
        print(json.dumps(first(words[0])))
    else:
        for recipe in words[1:]:
            cached(words[0], recipe, int(options.get("rounds", 11)))
