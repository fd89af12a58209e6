"""What remote shards cost, over a real HTTP server on loopback: `python -m tests.pipelines.remote.report`.

Run from the repository's root, with its .dev and itself on PYTHONPATH; three to five minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from viewmill import Loader, Remote
from viewmill.pipelines.catalogue import seal_shard, write_catalogue

from ..elastic import shown
from ..shards import encoded, write_tar
from .packed import put_on
from .server import Fault, Server, serving

REPOSITORY = Path(__file__).resolve().parents[3]
SHARDS, EACH, SIDE_PX = 256, 256, 64
RECIPE, BATCH = "simclr_cifar", 16
LANES = {"shuffle": "lanes", "lanes": 16, "window": 4}

EPOCHS = 3
RANK = f"EPOCHS = {EPOCHS}" + """
import json, sys
from viewmill import Loader, Remote
about = json.loads(sys.argv[1])
keys, fetched = [], []
with Loader(about["url"], about["recipe"], about["batch"], rank=about["rank"], world_size=about["world"], threads=1,
            remote=Remote(**about["remote"]), **about["options"]) as loader:
    for epoch in range(EPOCHS):
        for batch in loader:
            keys += batch.key
        fetched.append(loader.stats().get("fetched_bytes", 0))
    print(json.dumps({"keys": keys, "stats": loader.stats(), "fetched": fetched}))
"""


def make(folder: Path, shards: int = SHARDS, each: int = EACH, side_px: int = SIDE_PX) -> Path:
    """Shards of JPEGs of noise: of 64 px, 4 KB each; of 224 px, 45 KB."""
    folder.mkdir()
    rng, entries = np.random.default_rng(0), []
    for shard in range(shards):
        files = []
        for i in range(shard * each, (shard + 1) * each):
            small = rng.integers(0, 256, (side_px // 2, side_px // 2, 3), np.uint8)
            files += [(f"{i:06d}.jpg", encoded(small.repeat(2, 0).repeat(2, 1), quality=85)), (f"{i:06d}.cls", b"%d" % (i % 10))]
        entries.append(seal_shard(write_tar(folder / f"train-{shard:04d}.tar", files)))
    write_catalogue(folder, entries)
    return folder


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def smallest(url: str, scratch: Path, rank: int, world: int, here: int) -> int:
    """Bytes of the smallest cache that is allowed."""
    os.environ["LOCAL_WORLD_SIZE"] = str(here)
    try:
        with Loader(url, RECIPE, BATCH, rank=rank, world_size=world, remote=Remote(cache=scratch / "none"),
                    **LANES) as loader:  # type: ignore[arg-type]
            return loader.cache_bytes
    finally:
        del os.environ["LOCAL_WORLD_SIZE"]


def nodes(url: str, server: Server, folder: Path, scratch: Path, world: int, here: int) -> None:
    """Epochs of `world` ranks on nodes of `here`, each node with the smallest cache that is allowed. What is counted is fetched
    from the end of the first to the end of the last: at each end, shards of the next are there already."""
    keys: list[str] = []
    options = {**LANES, "last": "short", "read_ahead_bytes": 1 << 18}  # 64 MiB, the default, are less than a shard of a real set
    for node in range(world // here):
        least = smallest(url, scratch, node * here, world, here)
        remote = {"cache": str(scratch / f"{world}-{node}"), "cache_bytes": least, "connections": 2}
        about = {"url": url, "recipe": RECIPE, "batch": BATCH, "world": world, "remote": remote, "options": options}
        environment = {**os.environ, "LOCAL_WORLD_SIZE": str(here), "OMP_NUM_THREADS": "1"}
        ranks = [subprocess.Popen([sys.executable, "-c", RANK, json.dumps({**about, "rank": node * here + rank})],
                                  env=environment, stdout=subprocess.PIPE) for rank in range(here)]
        said = [json.loads(rank.communicate()[0]) for rank in ranks]
        keys += [key for each in said for key in each["keys"]]
        share = size(folder) / (world // here)
        ratio = sum(each["fetched"][-1] - each["fetched"][0] for each in said) / (EPOCHS - 1) / share
        first = sum(each["fetched"][0] for each in said) / share
        print(f"  {world} ranks, node {node} of {world // here}: cache {least / size(folder):.2f} of the data, fetched / own "
              f"share {ratio:.3f} an epoch (the first, and some of the second: {first:.3f})", flush=True)
    assert sorted(keys) == sorted([f"{i:06d}" for i in range(SHARDS * EACH)] * EPOCHS), "every sample once an epoch"


def rate(source: str, remote: Remote | None, seconds: float = 4.0) -> float:
    """Images a second of an endless stream, after its first batches."""
    with Loader(source, RECIPE, BATCH, epochs=None, threads=2, remote=remote, **LANES) as loader:  # type: ignore[arg-type]
        stream = iter(loader)
        for _ in range(20):
            next(stream)
        begun, images = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            images += len(next(stream).key)
        return images / (time.perf_counter() - begun)


def main() -> None:
    with tempfile.TemporaryDirectory() as name, serving() as server:
        scratch = Path(name)
        folder = make(scratch / "packed")
        url = put_on(server, folder)
        print(f"{SHARDS} shards, {SHARDS * EACH} images, {size(folder) / 1e6:.0f} MB")

        print("bytes fetched by each node, of one epoch")
        for world, here in ((1, 1), (4, 2), (8, 2)):
            nodes(url, server, folder, scratch, world, here)

        if len(sys.argv) > 1:
            return
        print("a first batch with nothing in the cache: seconds, and MB fetched until then")
        server.fault_of = lambda path: Fault(chunk=1 << 16, slow_s=0.002)  # 30 MB/s a connection
        begun, before = time.perf_counter(), sum(server.sent.values())
        remote = Remote(cache=scratch / "warm", cache_bytes=10**10)
        with Loader(url, RECIPE, BATCH, threads=2, remote=remote, **LANES) as loader:  # type: ignore[arg-type]
            next(iter(loader))
            print(f"  {time.perf_counter() - begun:.2f} s, {(sum(server.sent.values()) - before) / 1e6:.1f} MB")
            for _ in loader:
                pass
        server.fault_of = lambda path: None

        print("images a second: from a warm cache, from the local shards, and their ratio")
        large = make(scratch / "large", 48, 64, 224)
        for what, address, local in (("4 KB", url, folder), ("45 KB", put_on(server, large, "large"), large)):
            pairs = []
            for turn in range(7):
                both = [lambda a=address: rate(a, remote), lambda a=local: rate(str(a), None)]  # type: ignore[misc]
                pairs.append([each() for each in both] if turn % 2 == 0 else [each() for each in both[::-1]][::-1])
            ratios = sorted(a / b for a, b in pairs)
            print(f"  images of {what}: {median(a for a, _ in pairs):.0f}, {median(b for _, b in pairs):.0f}, "
                  f"{median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})", flush=True)

        print("a server of which one answer in five fails: retries, and whether the views are the same")
        chance = np.random.default_rng(1)
        kinds = [Fault(status=500), Fault(after=200_000, then="reset"), Fault(after=5000, then="close"), Fault(status=429),
                 Fault(status=503, headers={"Retry-After": "1"})]
        server.fault_of = lambda path: kinds[chance.integers(5)] if chance.random() < 0.2 else None
        seen: list[Any] = []
        for source, how in ((url, Remote(cache=scratch / "flaky", cache_bytes=10**10)), (str(folder), None)):
            with Loader(source, RECIPE, BATCH, threads=2, remote=how, **LANES) as loader:  # type: ignore[arg-type]
                seen.append([sample for batch in loader for sample in shown(batch)])
                print(f"  {loader.stats().get('retries', 0):.0f} retries, {len(seen[-1])} samples")
        print(f"  the same: {seen[0] == seen[1]}")


if __name__ == "__main__":
    main()
