"""How fast views come, against bare decoding of the same files: paired rounds in one run on one machine.

    viewmill bench dino data='imagenet/train-*.tar' threads=2

A round decodes every image with a pool of threads, then takes as many batches from a running loader as hold the same
number of images; then again while the main thread runs pure Python. Batches that were ready before the clock starts do
not count. Ratios are medians over rounds.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..augment.recipe import Recipe
from .decode import decode
from .loader import Loader
from .source import Source


@dataclass(frozen=True)
class Rate:
    """Milliseconds per image, median over rounds, with the smallest and largest."""

    median_ms: float
    low_ms: float
    high_ms: float

    @classmethod
    def of(cls, seconds_per_image: list[float]) -> Rate:
        ms = [1000 * s for s in seconds_per_image]
        return cls(statistics.median(ms), min(ms), max(ms))


@dataclass(frozen=True)
class Report:
    """What one benchmark saw. ratio: views against bare decode, per image; busy: rate beside a busy trainer / alone;
    torchvision: a torch DataLoader with torchvision on Pillow, as many workers as there are threads; faster: its time / ours."""

    recipe: str
    engine: str
    threads: int
    images: int
    rounds: int
    decode: Rate
    views: Rate
    views_busy: Rate
    ratio: float
    busy: float
    torchvision: Rate | None
    faster: float | None
    machine: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.recipe} on {self.engine}, {self.threads} threads, {self.images} images, {self.rounds} paired rounds"]
        rates = [("bare decode", self.decode), ("views", self.views), ("views, trainer busy", self.views_busy)]
        if self.torchvision is not None:
            rates.append(("torchvision", self.torchvision))
        for name, rate in rates:
            lines.append(f"  {name:20s} {rate.median_ms:7.2f} ms an image ({rate.low_ms:.2f} to {rate.high_ms:.2f}), "
                         f"{1000 / rate.median_ms:7.1f} images/s")
        lines.append(f"  views / bare decode  {self.ratio:7.2f}")
        lines.append(f"  busy / alone         {self.busy:7.2f} of the rate")
        if self.faster is not None:
            lines.append(f"  torchvision / views  {self.faster:7.2f}")
        lines.append("  " + ", ".join(f"{k} {v}" for k, v in self.machine.items()))
        return "\n".join(lines)


def bench(source: Source, recipe: Recipe, *, threads: int, rounds: int = 7, batch_size: int = 32, images: int = 300,
          engine: str = "auto", prefetch: int = 2, peers: bool = False) -> Report:
    """Measure. images: how many a round takes of each; the loaders run on, so a round is steady state. peers: also measure
    a torch DataLoader with torchvision on Pillow."""
    data = [source.read(int(i)) for i in np.linspace(0, len(source) - 1, images).astype(int)]
    batches = -(-images // batch_size)
    bare, alone, busy, theirs = [], [], [], []
    loader = Loader(source, recipe, batch_size, epochs=None, threads=threads, engine=engine, prefetch=prefetch)
    with ThreadPoolExecutor(threads) as pool, loader:
        stream = iter(loader)
        _take(stream, 2 * prefetch + 2)
        peer = _torchvision(source, recipe, batch_size, threads) if peers else None
        for _ in range(rounds):
            bare.append(_decode_all(pool, data) / images)
            _take(stream, prefetch + 2)
            alone.append(_take(stream, batches) / (batches * batch_size))
            _take(stream, prefetch + 2)
            busy.append(_take(stream, batches, busy=True) / (batches * batch_size))
            ahead = (prefetch + 2) * batch_size * max(alone[-1], busy[-1])
            time.sleep(2 * ahead)  # what it still makes ahead must not take the cores from what is measured next
            if peer is not None:
                _take(peer, 2 * threads + 1)  # what its workers had ready
                theirs.append(_take(peer, batches) / (batches * batch_size))
                time.sleep(2 * (2 * threads + 1) * batch_size * theirs[-1])
        name = loader.engine
    ratio = statistics.median(a / b for a, b in zip(alone, bare, strict=True))
    beside = statistics.median(a / b for a, b in zip(alone, busy, strict=True))
    faster = statistics.median(a / b for a, b in zip(theirs, alone, strict=True)) if peers else None
    return Report(str(recipe), name, threads, images, rounds, Rate.of(bare), Rate.of(alone), Rate.of(busy), ratio, beside,
                  Rate.of(theirs) if peers else None, faster, machine())


def _torchvision(source: Source, recipe: Recipe, batch_size: int, workers: int) -> Iterator[Any]:
    from .peers import torchvision_loader

    return iter(torchvision_loader(source, recipe, batch_size, workers))


def draw_chart(reports: Sequence[Report], path: Path) -> None:
    """A PNG: images/s of each recipe's views, beside bare decoding and, where it was measured, torchvision."""
    from matplotlib.figure import Figure

    bars = [("bare decode", "#bbbbbb", [r.decode for r in reports]), ("viewmill", "#1f6fb4", [r.views for r in reports])]
    if all(r.torchvision is not None for r in reports):
        bars.append(("torch DataLoader, torchvision on Pillow", "#e08214", [r.torchvision for r in reports if r.torchvision]))
    figure = Figure(figsize=(8, 1.2 + 0.95 * len(reports)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(bars)
    for number, (label, colour, rates) in enumerate(bars):
        places = [row + number * height for row in range(len(reports))]
        drawn = axes.barh(places, [1000 / rate.median_ms for rate in rates], height * 0.92, color=colour, label=label)
        axes.bar_label(drawn, fmt="%.0f", padding=3, fontsize=8)
    axes.set_yticks([row + 0.8 / 2 - height / 2 for row in range(len(reports))], [r.recipe for r in reports])
    axes.invert_yaxis()
    first = reports[0]
    axes.set_xlabel(f"images/s, all views of each image; {first.threads} threads or workers on {first.machine['cores']} cores, "
                    f"{first.machine['cpu']}", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def machine() -> dict[str, Any]:
    """Where this ran: the figures mean little without it."""
    import os

    import numba
    import simplejpeg

    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as info:
            cpu = next(line.split(":")[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "python": platform.python_version(), "numba": numba.__version__, "simplejpeg": simplejpeg.__version__}


def _decode_all(pool: ThreadPoolExecutor, data: list[Any]) -> float:
    start = time.perf_counter()
    for _ in pool.map(lambda encoded: decode(encoded).shape, data, chunksize=8):
        pass
    return time.perf_counter() - start


def _take(stream: Iterator[Any], batches: int, busy: bool = False) -> float:
    """Seconds for so many batches. busy: the main thread computes in pure Python and looks for a batch now and then."""
    start = time.perf_counter()
    if not busy:
        for _ in range(batches):
            next(stream)
        return time.perf_counter() - start
    with ThreadPoolExecutor(1) as waiter:  # the trainer's own waiting, so that the main thread never rests
        pending = waiter.submit(lambda: [next(stream) is not None for _ in range(batches)])
        spun = 0
        while not pending.done():
            spun += sum(range(200))
        pending.result()
    return time.perf_counter() - start
