"""The separate ceilings of a run on this machine and these data: each part of making views by itself, all of them, the step.

Everything is measured on a few hundred images, evenly spaced in the data and over and over, so that all but the cold read
find them in the page cache; what that leaves out, `diagnosis` puts back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from ..augment.draw import draw
from ..augment.recipe import Recipe
from . import page_cache
from .batch import Batch
from .decode import decode
from .faults import BadSample
from .image_header import image_size
from .loader import Loader
from .rates import each_second, loading, repeated
from .read_ahead import InFiles
from .source import Source
from .sources.arrays import ArraySource
from .sources.subset import Subset
from .specimens import encode

MOST_IMAGES, MOST_BYTES, FEWEST = 512, 2**28, 8
"""Images that are measured on: so many, or as many as hold so many bytes (encoded; decoded, a part of them)."""

LONG = 4.0
"""Times as long as a measurement: a step that takes longer is not repeated."""


class Open(Protocol):
    """Opens a loader as the run would, endless, but for what is given: batch_size, threads, or a key of its `loader`."""

    def __call__(self, source: Source, recipe: Recipe, **changes: Any) -> Loader: ...


@dataclass(frozen=True)
class Picked:
    """Images that are measured on: their numbers in the source, and what reading them gives."""

    index: np.ndarray
    data: list[bytes | np.ndarray]

    @property
    def bytes_each(self) -> float:
        return float(np.mean([_bytes(each) for each in self.data]))

    @property
    def pixels_each(self) -> float:
        return float(np.mean([np.prod(_size_hw(each)) for each in self.data]))

    @property
    def shorter_px(self) -> float:
        """The shorter side of the median image."""
        return median(min(_size_hw(each)) for each in self.data)


@dataclass(frozen=True)
class Read:
    """state: "warm" or "cold", or "not shown" where a reading that was meant to be one cannot be shown to have been."""

    images_per_second: float
    state: str
    evidence: str


class Part(Subset):
    """Some samples of a source, as a source; with `data`, those instead of what the source would read."""

    def __init__(self, source: Source, index: np.ndarray, data: Sequence[bytes | np.ndarray] | None = None) -> None:
        super().__init__(source, index)
        self.data = data

    def size_hw(self, index: np.ndarray) -> np.ndarray:
        index = np.asarray(index, np.int64).reshape(-1)
        if self.data is None:
            return super().size_hw(index)
        return np.array([_size_hw(self.data[i % len(self.data)]) for i in index.tolist()], np.int32).reshape(-1, 2)

    def read(self, index: int) -> bytes | np.ndarray:
        return super().read(index) if self.data is None else self.data[index % len(self.data)]

    def filling(self, batch_size: int) -> Part:
        """The same samples again and again, so that they make up several batches."""
        return type(self)(self.source, np.resize(self.index, max(len(self.index), 4 * batch_size)), self.data)


class FilePart(Part):
    """Of a source in local files, which a loader is told to read ahead by their places."""

    def extent(self, index: int) -> tuple[str | Path, int, int]:
        source = self.source
        assert isinstance(source, InFiles)
        return source.extent(int(self.index[index]))


def part_of(source: Source, picked: Picked) -> Part:
    """The picked samples, as the source reads them."""
    return (FilePart if hasattr(source, "extent") else Part)(source, picked.index)


def pick(source: Source, seconds: float) -> Picked:
    """Evenly spaced samples, in a mixed order, that can be read and decoded: as many as that takes so many seconds for, within
    MOST_IMAGES and MOST_BYTES. Raises ValueError where there is none."""
    spaced = np.unique(np.linspace(0, len(source) - 1, MOST_IMAGES).astype(np.int64))
    index: list[int] = []
    found: list[bytes | np.ndarray] = []
    held, began, fault = 0, time.perf_counter(), ""
    for i in np.random.default_rng(0).permutation(spaced).tolist():
        try:
            data = source.read(i)
            decode(data)
        except BadSample as reason:
            fault = f"{source.where(i)}: {reason}"
            continue
        index.append(i)
        found.append(data)
        held += _bytes(data)
        if len(index) >= FEWEST and (time.perf_counter() - began > seconds or held > MOST_BYTES):
            break
    if not index:
        raise ValueError(f"none of {len(spaced)} images can be used, the last is {fault}: check the data")
    return Picked(np.array(index, np.int64), found)


def read_warm(source: Source, picked: Picked, threads: int, seconds: float) -> Read:
    """Reading alone, of what was read just before."""
    for i in picked.index.tolist():
        source.read(i)
    before, calls = page_cache.bytes_from_storage(), count()

    def read(index: int) -> None:
        source.read(index)
        next(calls)

    rate = each_second(read, picked.index.tolist(), threads, seconds)
    if not hasattr(source, "extent"):
        return Read(rate, "warm", "no local files: as fast as the source is")
    if before is None:
        return Read(rate, "not shown", "the platform does not say what came from storage")
    stored, total = (page_cache.bytes_from_storage() or 0) - before, next(calls) * picked.bytes_each
    return Read(rate, "warm" if stored <= 0.05 * total else "not shown", f"{_mib(stored)} of {_mib(total)} came from storage")


def read_cold(source: Source, picked: Picked, threads: int, seconds: float) -> Read:
    """Each image once, after its pages were dropped, until the time is over; cold only where that can be shown: mincore finds
    the pages gone, or as much came from storage as was read. A cache behind the storage's own face stays unseen."""
    extent = getattr(source, "extent", None)
    if extent is None:
        return Read(0.0, "not shown", "the samples are no parts of local files")
    extents = [extent(i) for i in picked.index.tolist()]
    spent, images, total, stored, left = 0.0, 0, 0.0, 0, 0.0
    while images == 0 or (spent < seconds and images < 20 * len(extents)):
        if not page_cache.drop(extents):
            return Read(0.0, "not shown", "this platform cannot drop pages of a file")
        there = page_cache.resident(extents)
        before = page_cache.bytes_from_storage()
        began = time.perf_counter()
        _once(source, picked, threads)
        spent += time.perf_counter() - began
        stored += (page_cache.bytes_from_storage() or 0) - (before or 0)
        left = max(left, 1.0 if there is None else there)
        images, total = images + len(extents), total + sum(size for _, _, size in extents)
    seen = f"{left:.0%} of the pages stayed when dropped, {_mib(stored)} of {_mib(total)} came from storage"
    cold = left <= page_cache.STAYED or (left == 1.0 and stored >= 0.9 * total)  # mincore says 1.0 of files that are not ours
    return Read(images / spent, "cold" if cold else "not shown", seen)


def decoding(picked: Picked, recipe: Recipe, threads: int, seconds: float) -> float:
    """Images/s of bare decoding in so many threads, at the scales that the recipe draws."""
    work = list(zip(picked.data, scales(recipe, picked.data), strict=True))
    return each_second(lambda each: _decoded(*each), work, threads, seconds)


def rendering(picked: Picked, recipe: Recipe, open_loader: Open, seconds: float) -> float:
    """Images/s of a loader that finds its images decoded in memory, in threads of this process: planning, draws, pixels."""
    images, held = [], 0
    for data, scale in zip(picked.data, scales(recipe, picked.data), strict=True):
        images.append(_decoded(data, scale))
        held += images[-1].nbytes
        if held > MOST_BYTES:
            break
    whole = recipe if recipe.decode == "full" else Recipe.from_dict({**recipe.to_dict(), "decode": "full"})
    decoded = ArraySource(images)
    batch_size = min(32, len(images))
    part = Part(decoded, np.arange(len(images))).filling(batch_size)
    with open_loader(part, whole, batch_size=batch_size, sidecar=False) as loader:
        return loading(loader, seconds, 1 + loader.prefetch)


def scales(recipe: Recipe, data: Sequence[bytes | np.ndarray]) -> list[int]:
    """What each image's sides are divided by when it is decoded for a recipe: 1, 2, 4 or 8."""
    if recipe.decode == "full":
        return [1] * len(data)
    index = np.arange(len(data), dtype=np.int64)
    size_hw = np.array([_size_hw(each) for each in data], np.int64).reshape(-1, 2)
    params = draw(recipe, 0, 0, index, size_hw, position=index, length=len(data), partner_size_hw=size_hw)
    drawn = params.get("", {}).get("decode", {}).get("denominator")
    return [1] * len(data) if drawn is None else [int(d) for d in np.asarray(drawn).reshape(len(data), -1).min(1)]


def views(part: Part, recipe: Recipe, open_loader: Open, batch_size: int, seconds: float, **changes: Any) -> float:
    """Images/s of the run's loader in steady state, at its own pace."""
    with open_loader(part.filling(batch_size), recipe, **changes) as loader:
        return loading(loader, seconds, 1 + loader.prefetch)


def views_and_batches(part: Part, recipe: Recipe, open_loader: Open, batch_size: int,
                      seconds: float) -> tuple[float, list[Batch]]:
    """`views`, and two of the batches, to measure what becomes of them."""
    with open_loader(part.filling(batch_size), recipe) as loader:
        rate = loading(loader, seconds, 1 + loader.prefetch)
        return rate, [batch for _ in range(2) if (batch := loader.next_batch()) is not None]


def copying(batch: Batch, device: torch.device, seconds: float) -> float:
    """Images/s of copying a batch's views: on CUDA out of pinned memory onto the device, on the CPU once through memory, more
    than a hand-over there costs: the trainer reads the very memory that was rendered into."""
    on_cuda = device.type == "cuda"
    pairs = []
    for view in batch.views.values():
        here = torch.empty(view.shape, dtype=view.dtype, pin_memory=on_cuda)
        pairs.append((here.copy_(view), torch.empty_like(view, device=device)))

    def copy() -> int:
        for here, there in pairs:
            there.copy_(here, non_blocking=True)
        return len(batch)

    copy()
    return repeated(copy, seconds, wait=on_cuda)


def stepping(step: Callable[[Batch], None], ready: Sequence[Batch], device: torch.device, seconds: float) -> float:
    """Images/s of the model step on ready batches; the first steps, which compile and allocate, do not count."""
    following = 0

    def take() -> int:
        nonlocal following
        batch = ready[following % len(ready)]
        following += 1
        step(batch)
        return len(batch)

    for _ in range(3):
        once = repeated(take, 0.0, wait=device.type == "cuda")
        if len(ready[0]) > LONG * seconds * once:
            return once  # whatever came first in it, it is little beside the step, and another would take as long
    return repeated(take, seconds, wait=device.type == "cuda")


def together(part: Part, recipe: Recipe, open_loader: Open, batch_size: int, step: Callable[[Batch], None],
             device: torch.device, seconds: float, **changes: Any) -> tuple[float, float]:
    """(images/s, share of the time that goes by waiting for a batch) of real steps on a running loader, after those whose
    batches were made ahead. On CUDA each step is waited for, so that waiting is what leaves the device idle."""
    with open_loader(part.filling(batch_size), recipe, **changes) as loader:
        waited = total = 0.0
        images, number, ahead = 0, 0, loader.prefetch + 2
        batch = loader.next_batch()  # no step waits for the loader's start
        while total < seconds or images == 0:
            tick = time.perf_counter()
            if number > 0:
                batch = loader.next_batch()
            arrived = time.perf_counter()
            assert batch is not None
            step(batch.to(device))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            ended, number = time.perf_counter(), number + 1
            if number > ahead or ended - arrived > LONG * seconds:
                images, waited, total = images + len(batch), waited + arrived - tick, total + ended - tick
    return images / total, waited / total


def smaller(picked: Picked, side_px: int, seconds: float) -> Picked | None:
    """Images with their shorter side reduced to side_px, as JPEGs of quality 90; at least FEWEST, and within so many seconds.
    None where that does not shrink the median image by a quarter."""
    if picked.shorter_px < 1.25 * side_px:
        return None
    made: list[bytes | np.ndarray] = []
    began = time.perf_counter()
    for data in picked.data:
        height, width = _size_hw(data)
        image = Image.fromarray(decode(data))
        factor = min(1.0, side_px / min(height, width))
        image = image.resize((round(width * factor), round(height * factor)), Image.Resampling.BICUBIC)
        made.append(encode(np.asarray(image), quality=90))
        if len(made) >= FEWEST and time.perf_counter() - began > seconds:
            break
    return Picked(picked.index[:len(made)], made)


def _once(source: Source, picked: Picked, threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda i: source.read(i) is None, picked.index.tolist()):
            pass


def _decoded(data: bytes | np.ndarray, scale: int) -> np.ndarray:
    return decode(data) if scale == 1 else decode(data, denominator=scale)


def _bytes(data: bytes | np.ndarray) -> int:
    return data.nbytes if isinstance(data, np.ndarray) else len(data)


def _size_hw(data: bytes | np.ndarray) -> tuple[int, int]:
    if isinstance(data, np.ndarray):
        return int(data.shape[0]), int(data.shape[1])
    height, width = image_size(data)
    return int(height), int(width)


def _mib(count: float) -> str:
    return f"{count / 2**20:,.0f} MiB"
