"""Whether the engines do here what they promise: each check runs on pictures made on the spot, and says what it saw.

Used by `viewmill doctor`, which is how these run on a machine that has a GPU, and by the tests.
"""

from __future__ import annotations

import contextlib
import gc
import io
import mmap
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image, features
from torch import Tensor

from ..augment import Recipe, UnsupportedRecipe, View, presets
from ..augment.draw import Params, draw
from ..augment.ops import Crop, Jitter, LabSplit, Normalize, Sobel
from . import specimens
from .decode import decode
from .engines import dali, render
from .loader import Loader
from .memory import shared_memory
from .placement import cores

PRESETS = ("simclr_pil", "dino", "mae", "jigsaw", "cmc_resnet", "byol")
"""One of each kind: colour on Pillow's terms, many sizes, a mask, tiles, Lab, and crops without antialias."""

BITS = "b6ca163cd0eba113"
"""Digest of what `bits` renders, on every x86-64 processor. A kernel that computes anything else changes it."""

GROWTH_MIB = 64

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


@dataclass(frozen=True)
class Way:
    """An engine and where it works."""

    engine: str
    device: str = "cpu"

    def __str__(self) -> str:
        if self.engine == "cpu":
            return "cpu engine" if self.device == "cpu" else "cpu engine, batches on the GPU"
        return f"{self.engine} engine on the {'CPU' if self.device == 'cpu' else 'GPU'}"

    @property
    def missing(self) -> str:
        """Why it cannot run here, with the way out; empty where it can."""
        if self.device != "cpu" and not torch.cuda.is_available():
            return "torch sees no CUDA device"
        return dali.missing() if self.engine == "dali" else ""


SPECIFICATION = Way("torch")
WAYS = (SPECIFICATION, Way("cpu"), Way("dali"), Way("torch", "cuda"), Way("dali", "cuda"))
FEEDS = (Way("cpu"), Way("dali"), Way("cpu", "cuda"), Way("dali", "cuda"))
"""The ways that one would train with."""


@dataclass(frozen=True)
class Check:
    """verdict: "ok", "skipped" or "failed"; seen: a few words, why it was skipped, or what was seen; figures by name."""

    name: str
    verdict: str
    seen: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.verdict:8s} {self.name}: {self.seen}"


Found = tuple[str, str, dict[str, float]]
"""Complaint (empty: all is well), what was seen, figures."""


class Skip(Exception):
    """A check does not apply here. The text says why."""


def _check(name: str) -> Callable[[Callable[..., Found]], Callable[..., Check]]:
    """Makes a Check of what a function found. name takes the function's first argument where it is a Way."""
    def made(function: Callable[..., Found]) -> Callable[..., Check]:
        @wraps(function)
        def run(*args: Any, **options: Any) -> Check:
            title = f"{name}, {args[0]}" if args and isinstance(args[0], Way) else name
            if args and isinstance(args[0], Way) and args[0].missing:
                return Check(title, "skipped", args[0].missing)
            try:
                complaint, seen, figures = function(*args, **options)
            except Skip as reason:
                return Check(title, "skipped", str(reason))
            except Exception as error:  # whatever a broken machine leads to is a finding
                return Check(title, "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
            return Check(title, "failed" if complaint else "ok", complaint or seen, figures)
        return run
    return made


@_check("shared memory")
def shared() -> Found:
    """Batches travel between processes in memory without a name; a container may forbid it."""
    size = 64 * 2**20
    fd = shared_memory(size, "viewmill-doctor")
    with mmap.mmap(fd, size) as one, mmap.mmap(fd, size) as other:
        os.close(fd)
        written = np.random.default_rng(0).bytes(4096)
        one[size - 4096:] = written
        same = other[size - 4096:] == written
    how = "memfd" if hasattr(os, "memfd_create") else "a deleted temporary file"
    return "" if same else f"what one mapping of {how} wrote, the other does not see", f"64 MiB by {how}", {}


@_check("decoding")
def decoding() -> Found:
    """Pillow's pixels, bit for bit, of every format."""
    if not features.check("libjpeg_turbo"):
        raise Skip("this Pillow was built with another JPEG library than libjpeg-turbo, whose pixels differ")
    wrong = []
    for name, data in specimens.files().items():
        with Image.open(io.BytesIO(data)) as image:
            expected = np.asarray(image.convert("RGB"))
        got = decode(data)
        if got.shape != expected.shape or not np.array_equal(got, expected):
            wrong.append(f"{name} (by up to {np.abs(got.astype(int) - expected).max()} levels)")
    complaint = f"differs from Pillow's: {', '.join(wrong)}" if wrong else ""
    return complaint, f"{len(specimens.files())} kinds of files equal Pillow's to the bit", {}


@_check("crops beside Pillow")
def crops(way: Way) -> Found:
    """Antialiased crops are Pillow's byte for byte. DALI sums in float, and always across first: where Pillow goes down first,
    levels that are clipped between the passes differ, on the sharpest of these pictures by 39."""
    if int(PIL.__version__.split(".")[0]) < 13:
        raise Skip(f"the contract is Pillow 13's arithmetic, and Pillow {PIL.__version__} is installed: pip install -U pillow")
    largest, total, count = 0.0, 0.0, 0
    for filter, (height, width) in (("bilinear", (64, 64)), ("bicubic", (97, 41)), ("lanczos", (40, 130))):
        recipe = Recipe((View("a", (height, width), (Crop(size_px=(height, width), filter=filter),)),))
        for picture in specimens.pictures().values():
            h, w = picture.shape[:2]
            for box in ((0, 0, h, w), (h // 5, w // 7, h // 2, w // 3), (3, 5, 17, w - 8)):
                top, left, tall, wide = box
                if way.engine == "dali" and tall - height > 2 * max(wide - width, 0):
                    continue
                params = {"a/0": {"crop": {"box": np.array([box], np.int32)}}}
                cut = Image.fromarray(picture).crop((left, top, left + wide, top + tall))
                expected = np.asarray(cut.resize((width, height), FILTERS[filter])).astype(np.float32)
                got = render([picture], recipe, params, engine=way.engine, device=_device(way))["a"][0, 0]
                apart = np.abs(got.cpu().numpy().transpose(1, 2, 0) * 255 - expected)
                largest, total, count = max(largest, float(apart.max())), total + float(apart.sum()), count + apart.size
    most, on_average = (3.0, 0.05) if way.engine == "dali" else (1e-3, 1e-3)
    return _within(largest, total / count, most, on_average, "of Pillow's crops")


@_check("presets beside the specification")
def parity(way: Way, names: Sequence[str] = ()) -> Found:
    """The way's views against those of the torch engine on the CPU, which is the specification, with the same parameters.
    names: of presets; default PRESETS."""
    if way == SPECIFICATION:
        raise Skip("it is the specification")
    complaints, unable, figures = list[str](), list[str](), dict[str, float]()
    names = names or PRESETS
    for name in names:
        try:
            largest, mean = distance(presets.recipe(name), way)
        except UnsupportedRecipe:
            unable.append(name)
            continue
        figures |= {f"{name}_largest": largest, f"{name}_mean": mean}
        # The largest is that of single pixels whose hue falls to either side of the end of the circle: six levels. Of dali, and
        # of a GPU whose sums have fewer digits, the mean alone is held: one level of the crop grows to a few by jitter's
        # factors, and to a whole turn of hue where a pixel is gray.
        most, on_average = (8.0, 0.02) if way == Way("cpu") else (float("inf"), 0.2)
        complaint, _, _ = _within(largest, mean, most, on_average, f"of {name}")
        complaints += [complaint] if complaint else []
    seen = ", ".join(f"{name} {figures[f'{name}_mean']:.3f}" for name in names if f"{name}_mean" in figures)
    left = f"; does not render {', '.join(unable)}" if unable else ""
    return "; ".join(complaints), f"levels apart on average: {seen}{left}", figures


def distance(recipe: Recipe, way: Way) -> tuple[float, float]:
    """Largest and mean difference from the torch engine on the CPU: in levels of 255 where all pixels are normalized alike,
    else in hundredths of the views' own standard deviation; of the group where each is worst."""
    images = list(specimens.pictures().values())
    params, reference = _specified(recipe)
    got = render(images, recipe, params, engine=way.engine, device=_device(way))
    largest, mean = 0.0, 0.0
    for group, views in reference.items():
        ops = [op for view in recipe.views if view.group == group for op in view.ops or ()]
        last = next((op for op in reversed(ops) if isinstance(op, Normalize)), Normalize(kind="none"))
        levels = last.pixelwise and not any(isinstance(op, LabSplit | Sobel) for op in ops)
        gain = torch.tensor(last.affine(views.shape[2])[0]).reshape(-1, 1, 1) if levels else views.std() / 100
        apart = ((got[group].cpu() - views) / gain).abs()
        largest, mean = max(largest, float(apart.max())), max(mean, float(apart.mean()))
    return largest, mean


@lru_cache(maxsize=8)
def _specified(recipe: Recipe) -> tuple[Params, dict[str, Tensor]]:
    """Parameters for the pictures, and what the torch engine makes of them; once for all engines, for it takes its time."""
    images = list(specimens.pictures().values())
    count, size_hw = len(images), np.array([image.shape[:2] for image in images])
    params = draw(recipe, 1, 0, np.arange(count), size_hw, position=np.arange(count), length=count)
    return params, render(images, recipe, params, engine="torch")


@_check("files through a loader")
def files(way: Way) -> Found:
    """Every format, from its bytes to a crop, against decoding and cropping apart."""
    data = specimens.files()
    recipe = Recipe((View("a", 96, (Crop(size_px=96, scale=(0.3, 1.0)),), count=2),))
    source = specimens.FileSource(list(data.values()))
    device = None if way.engine in ("torch", "cpu") else way.device
    with Loader(source, recipe, len(data), engine=way.engine, device=device, shuffle="none", sidecar=False) as loader:
        batch = next(iter(loader))
    images = [decode(source.read(int(i))) for i in batch.index]
    expected = render(images, recipe, batch.params, engine="torch")["a"]
    apart = (batch.views["a"].cpu() - expected).abs() * 255
    by_file = {name: float(apart[:, batch.index.tolist().index(i)].mean()) for i, name in enumerate(data)}
    most, on_average = (1e-3, 1e-3) if way.engine != "dali" else (3.0, 0.2) if way.device == "cpu" else (float("inf"), 1.5)
    complaint, seen, figures = _within(float(apart.max()), max(by_file.values()), most, on_average,
                                       f"on {max(by_file, key=by_file.__getitem__)}")
    return complaint, seen, figures | {f"{name}_mean": mean for name, mean in by_file.items()}


@_check("bits of the cpu engine")
def bits() -> Found:
    """The same on every x86-64 processor, so this machine's runs can be repeated on another."""
    found = digest()
    if found == BITS:
        return "", f"{found}, as everywhere", {}
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return "", f"{found}; on x86-64 they are {BITS}: the same bits are promised there only", {}
    return f"{found} where {BITS} is expected: views differ from those of other machines", "", {}


def digest() -> str:
    """Of the cpu engine's views of all pictures by three presets: colour, blur, crops with and without antialias."""
    images, total = list(specimens.pictures().values()), blake2b(digest_size=8)
    count, size_hw = len(images), np.array([image.shape[:2] for image in images])
    for name in ("simclr_pil", "dino", "byol"):
        recipe = presets.recipe(name)
        params = draw(recipe, 11, 3, np.arange(count), size_hw, position=np.arange(count), length=count)
        for views in render(images, recipe, params, engine="cpu").values():
            total.update(views.numpy().tobytes())
    return total.hexdigest()


@_check("batches are not overwritten")
def kept(way: Way, batches: int = 24) -> Found:
    """Batches that the trainer keeps stay as they are; those that it lets go are read to the end before they are written again,
    also where its stream lags behind; and none is handed out before it is whole: each is filled with NaN when it is done with.
    """
    with _stream(way) as stream:
        expected = [_copies(stream) for _ in range(batches)]
    seen = dict[int, dict[str, Tensor]]()
    with _stream(way) as stream:
        for number in range(batches):
            views = _next(stream)
            if number % 4 == 0:
                seen[number] = views
                continue
            if way.device != "cpu":
                torch.cuda._sleep(20_000_000)  # about 10 ms
            seen[number] = {group: each.clone() for group, each in views.items()}
            for each in views.values():
                each.fill_(float("nan"))
            del views, each
        wrong = [number for number in seen if not _alike(expected[number], seen[number])]
    if not wrong:
        return "", f"{batches} batches, every fourth kept", {"batches": batches}
    kind = "kept" if wrong[0] % 4 == 0 else "let go"
    return f"{len(wrong)} of {batches} batches are not what they were, the first is batch {wrong[0]}, which was {kind}", "", {}


@_check("memory does not grow")
def memory(way: Way, batches: int = 200) -> Found:
    """Of this process with its sidecar, and of the GPU, over so many batches, after a third as many to warm up."""
    with _stream(way) as stream:
        for _ in range(max(8, batches // 3)):
            _next(stream)
        gc.collect()  # or what was garbage before would be set off against what is lost now
        before = _memory(way)
        for _ in range(batches):
            _next(stream)
        grown = {name: (used - before[name]) / 2**20 for name, used in _memory(way).items()}
    seen = ", ".join(f"{name.replace('_', ' ')} {mib:+.0f} MiB" for name, mib in grown.items()) + f" over {batches} batches"
    figures = {"batches": float(batches), **{f"{name}_mib": mib for name, mib in grown.items()}}
    return f"{seen}; allowed: {GROWTH_MIB}" if max(grown.values()) > GROWTH_MIB else "", seen, figures


@_check("work on the GPU overlaps")
def overlap(way: Way) -> Found:
    """While the trainer's stream is busy, the next batches get to the GPU: they are there before the trainer is done."""
    with _stream(way) as stream:
        for _ in range(8):  # memory is found and pinned, which waits for the whole GPU
            _next(stream)
        torch.cuda.synchronize()
        side, busy = torch.cuda.Stream(), torch.cuda.current_stream()
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record(busy)
        torch.cuda._sleep(4_000_000_000)  # about two seconds
        ended.record(busy)
        with torch.cuda.stream(side):
            for _ in range(8):  # more than were ready before
                views = _next(stream)
            total = sum(each.float().sum() for each in views.values())
            there = torch.cuda.Event(enable_timing=True)
            there.record(side)
        there.synchronize()
        in_time = not ended.query()
        ended.synchronize()
        assert bool(torch.isfinite(torch.as_tensor(total)))
    figures = {"batch_ms": began.elapsed_time(there), "busy_ms": began.elapsed_time(ended)}
    seen = f"8 batches after {figures['batch_ms']:.0f} ms, while the trainer's stream was busy for {figures['busy_ms']:.0f} ms"
    return "" if in_time else f"{seen}: they waited for it", seen, figures


def _stream(way: Way) -> Loader:
    """Endless small batches of files, half of them JPEGs that a GPU can decode; in a sidecar where the engine has one."""
    data = [*specimens.files().values(), *specimens.photographs(8, (120, 160))]
    crop = Crop(size_px=96, scale=(0.3, 1.0))
    device = way.device if way.engine == "dali" or way.device != "cpu" else None
    return Loader(specimens.FileSource(data), Recipe((View("a", 96, (crop, Jitter()), count=2),)), 8, epochs=None,
                  engine=way.engine, device=device, threads=min(2, cores()))


def _next(stream: Loader) -> dict[str, Tensor]:
    batch = stream.next_batch()
    assert batch is not None
    return batch.views


def _copies(stream: Loader) -> dict[str, Tensor]:
    return {group: each.cpu().clone() for group, each in _next(stream).items()}


def _alike(expected: dict[str, Tensor], seen: dict[str, Tensor]) -> bool:
    """To the last bit on the CPU; a GPU may sum in another order. NaN is never alike."""
    for group, views in expected.items():
        apart = (seen[group].cpu() - views).abs().flatten(2).mean(-1).max()  # of the worst image
        if not float(apart) <= (0.0 if seen[group].device.type == "cpu" else 0.01):
            return False
    return True


def _memory(way: Way) -> dict[str, float]:
    """Bytes in use: by this process and its children, and on the GPU by torch and by all."""
    if not os.path.exists("/proc/self/statm"):
        raise Skip("this system has no /proc to read it from")
    gc.collect()
    found = {"main_memory": _resident(os.getpid())}
    if way.device != "cpu":
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info()
        found |= {"torch_on_the_GPU": float(torch.cuda.memory_allocated()), "all_on_the_GPU": float(total - free)}
    return found


def _resident(pid: int) -> float:
    """Resident bytes of a process and its children."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    children = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                children += _resident(int(stat.parent.name))
    return pages * os.sysconf("SC_PAGE_SIZE") + children


def _device(way: Way) -> str | None:
    """As `render` takes it: the cpu engine has no choice."""
    return None if way.engine == "cpu" else way.device


def _within(largest: float, mean: float, most: float, on_average: float, what: str) -> Found:
    complaint = ""
    if not (largest <= most and mean <= on_average):  # so that NaN fails
        allowed = f"{on_average:g}" + (f", at most {most:g}" if np.isfinite(most) else "")
        complaint = f"{mean:.3f} levels apart on average {what}, at most {largest:.1f}; allowed: {allowed}"
    return complaint, f"{mean:.3f} levels apart on average {what}, at most {largest:.1f}", {"largest": largest, "mean": mean}
