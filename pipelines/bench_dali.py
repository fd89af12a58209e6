"""What our boxes cost inside DALI: decoding and cropping by the dali engine, against DALI's own random_resized_crop.

    python -m viewmill.pipelines.bench_dali 'data=imagenet/train-*.tar' recipe=dino threads=2 rounds=7

Both graphs decode the same files, and make crops of the same sizes with the same filter; ours is fed boxes and flips, drawn
in the run, theirs draws them itself and mirrors nothing. Rounds alternate in one process; ratios are medians over rounds.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ..augment import presets
from ..augment.draw import draw, take
from ..augment.fields import pair_of
from ..augment.ops import Crop
from ..augment.recipe import Recipe
from .engines.dali import RESAMPLE, DaliEngine, DaliOptions, Graph, missing
from .engines.dali.library import dali
from .engines.dali.steps import FILTERS
from .source import Source, open_source

Batch = tuple[list[np.ndarray], np.ndarray, np.ndarray]
"""Files, their numbers, their sizes."""


def bench(source: Source, recipe: Recipe, *, threads: int = 2, rounds: int = 7, images: int = 320, batch_size: int = 32,
          device: str = "cpu") -> dict[str, tuple[float, float, float]]:
    """{way: (ms an image, its rate / that of DALI's own, the same by the CPU time of this process)}: medians over rounds."""
    batches = _batches(source, images, batch_size)
    ahead = itertools.cycle(batches)
    ways: dict[str, Callable[[], Any]] = {"random_resized_crop": _theirs(recipe, ahead, threads, batch_size, device)}
    for resample in RESAMPLE:
        engine = DaliEngine(recipe, options=DaliOptions(resample=resample))
        ways[resample] = Graph(engine, _ours(engine, batches), batch_size, threads, torch.device(device)).run
    count = -(-images // batch_size)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, run in ways.items():
            run()  # what it had ready, and the caches
            start, cpu = time.perf_counter(), time.process_time()
            for _ in range(count):
                run()
            if number:
                taken[name].append((time.perf_counter() - start, time.process_time() - cpu))
            time.sleep(5 * (time.perf_counter() - start) / count)  # what it makes ahead must not fall into the next one's time
    first, made = taken["random_resized_crop"], count * batch_size
    return {name: (1000 * statistics.median(clock for clock, _ in times) / made,
                   statistics.median(a / b for (a, _), (b, _) in zip(first, times, strict=True)),
                   statistics.median(a / b for (_, a), (_, b) in zip(first, times, strict=True)))
            for name, times in taken.items()}


def _batches(source: Source, images: int, batch_size: int) -> list[Batch]:
    number = np.linspace(0, len(source) - 1, -(-images // batch_size) * batch_size).astype(np.int64)
    size_hw = np.array(source.size_hw(number), np.int64)
    files = [np.frombuffer(source.read(i), np.uint8) for i in number.tolist()]
    return [(files[i:i + batch_size], number[i:i + batch_size], size_hw[i:i + batch_size])
            for i in range(0, len(number), batch_size)]


def _ours(engine: DaliEngine, batches: list[Batch]) -> Callable[[], Sequence[Any]]:
    """Drawn for many samples together, as the loader does."""
    def stream() -> Iterator[Sequence[Any]]:
        number, size_hw = (np.concatenate([batch[part] for batch in batches]) for part in (1, 2))
        for epoch in itertools.count():
            params = draw(engine.recipe, 0, epoch, number, size_hw, position=np.arange(len(number)), length=len(number))
            first = 0
            for files, _, _ in batches:
                yield files, *engine.arrays(take(params, np.arange(first, first + len(files))))
                first += len(files)

    ahead = stream()
    return lambda: next(ahead)


def _theirs(recipe: Recipe, ahead: Any, threads: int, batch_size: int, device: str) -> Callable[[], Any]:
    fn, types = dali().fn, dali().types
    pipe = dali().Pipeline(batch_size, threads, None if device == "cpu" else 0, exec_dynamic=True, prefetch_queue_depth=2, seed=1)
    with pipe:
        files = fn.external_source(source=lambda: next(ahead)[0], batch=True, dtype=types.UINT8, ndim=1)
        image = fn.decoders.image(files, device="cpu" if device == "cpu" else "mixed", output_type=types.RGB,
                                  adjust_orientation=False, jpeg_fancy_upsampling=True)
        crops = []
        for instance in recipe.instances:
            crop = next(op for op in instance.ops if isinstance(op, Crop))
            assert crop.size_px is not None and crop.scale is not None and crop.ratio is not None
            crops.append(fn.random_resized_crop(image, size=list(pair_of(crop.size_px)), random_area=list(crop.scale),
                                                random_aspect_ratio=list(crop.ratio), antialias=bool(crop.antialias),
                                                interp_type=getattr(types, FILTERS[str(crop.filter)])))
        pipe.set_outputs(*crops)
    pipe.build()
    return lambda: pipe.run()


def main(words: Sequence[str]) -> int:
    options = dict(word.split("=", 1) for word in words if "=" in word)
    known = {"data", "recipe", "threads", "rounds", "images", "batch_size", "device"}
    if "data" not in options or set(options) - known or len(options) < len(words):
        print(__doc__, file=sys.stderr)
        return 2
    if reason := missing():
        print(reason, file=sys.stderr)
        return 1
    numbers = {name: int(options[name]) for name in ("threads", "rounds", "images", "batch_size") if name in options}
    device = options.get("device", "cpu")
    found = bench(open_source(options["data"]), presets.recipe(options.get("recipe", "dino")), device=device, **numbers)
    print(f"{options.get('recipe', 'dino')} on {device}, {numbers.get('threads', 2)} threads: decoding and cropping")
    for name, (ms, by_clock, by_cpu) in found.items():
        print(f"  {name:20s} {ms:7.2f} ms an image, {by_clock:5.2f} of random_resized_crop's rate, {by_cpu:5.2f} by CPU time")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
