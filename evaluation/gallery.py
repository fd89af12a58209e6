"""What a method makes of a few images, as a sheet of pictures: now and then beside its run, and of a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..augment.recipe import Recipe
from ..models.method import Method
from ..models.pictured import Pictured, Shown
from ..models.restored import restored
from ..models.training import checkpoint
from ..models.training.config import LoaderConfig
from ..models.views import left_to
from ..pipelines.batch import Batch
from ..pipelines.loader import Loader
from ..pipelines.source import Source, open_source
from .features import evaluating

IMAGES = 8
FOLDER = "pictures"
"""In the folder of a run."""

CELL_PX, GAP_PX, TITLE_PX = 160, 8, 22


class Gallery:
    """The first images of a run's first epoch, in the views that the run makes of them, and what a method makes of those."""

    def __init__(self, source: Source, recipe: Recipe, loader: LoaderConfig, seed: int, *, device: torch.device,
                 threads: int, left: tuple[str, ...] = ()) -> None:
        """left: types of ops that the method renders by itself."""
        self.left = left
        self.source, self.recipe, self.loader, self.seed = source, recipe, loader, seed
        self.device, self.threads = device, threads
        self._batch: Batch | None = None

    @classmethod
    def of(cls, method: Method, *given: Any, **more: Any) -> Gallery | None:
        """None where the method shows nothing."""
        return cls(*given, left=left_to(method), **more) if isinstance(method, Pictured) else None

    def write(self, method: Method, step: int, out: Path,
              autocast: Callable[[], AbstractContextManager[Any]] = nullcontext) -> Path:
        """out/pictures/step-NNNNNN.png, whole or not at all. No generator of this process moves."""
        path = out / FOLDER / f"step-{step:06d}.png"
        self.save(method, path, autocast)
        return path

    def save(self, method: Method, path: Path, autocast: Callable[[], AbstractContextManager[Any]] = nullcontext) -> int:
        """The sheet, to a PNG; how many images it shows."""
        columns = self.columns(method, autocast)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            sheet(columns).save(temporary, "PNG")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return len(next(iter(columns.values())))

    def columns(self, method: Method, autocast: Callable[[], AbstractContextManager[Any]] = nullcontext) -> dict[str, Tensor]:
        assert isinstance(method, Pictured)
        drawing_on = [self.device] if self.device.type == "cuda" else []
        with evaluating(method), torch.no_grad(), torch.random.fork_rng(drawing_on), autocast():
            torch.manual_seed(0)
            return method.pictures(Shown(self.batch(), self.recipe))

    def batch(self) -> Batch:
        """On the device; rendered once, when it is first asked for."""
        if self._batch is None:
            of = self.loader
            with Loader(self.source, self.recipe, min(IMAGES, len(self.source)), seed=self.seed, epochs=1, rank=0, world_size=1,
                        threads=self.threads, engine=of.engine, device=self.device, shuffle=of.shuffle, lanes=of.lanes,
                        window=of.window, prefetch=1, sidecar=False, max_bad=1.0, read_ahead_bytes=0,
                        left=self.left) as loader:
                self._batch = next(iter(loader)).to(self.device, non_blocking=False)
        return self._batch


def of_run(folder: Path, out: Path, *, data: Any = None, threads: int = 1) -> int:
    """The sheet of a run's newest checkpoint, to a PNG: what the run wrote, or would have written, when it was there. How many
    images it shows; 0, and nothing is written, where there is no checkpoint, or its method shows nothing. data: in place of where
    the run found its images. Raises ValueError, one line, where it cannot be had."""
    found = checkpoint.find(folder, "auto")
    if found is None:
        return 0
    path, state = found
    method, recipe = restored(path, state)
    config = state["config"]
    known = {f.name for f in fields(LoaderConfig)}
    loader = LoaderConfig(**{name: value for name, value in config["loader"].items() if name in known})
    source = open_source(config["data"] if data is None else data)
    gallery = Gallery.of(method, source, recipe, loader, config["seed"], device=torch.device("cpu"), threads=threads)
    return 0 if gallery is None else gallery.save(method, out)


def sheet(columns: Mapping[str, Tensor]) -> Image.Image:
    """By title, columns of pictures (N, 3, H, W) in [0, 1], as many in each: a row for each image, titles above. A small picture
    is enlarged by a whole factor, so that its pixels can be counted."""
    assert columns and len({len(column) for column in columns.values()}) == 1, "columns of as many pictures each"
    rows = len(next(iter(columns.values())))
    pitch = CELL_PX + GAP_PX
    made = Image.new("RGB", (len(columns) * pitch + GAP_PX, rows * pitch + TITLE_PX + GAP_PX), "white")
    pen, font = ImageDraw.Draw(made), ImageFont.load_default(12)
    for place, (title, column) in enumerate(columns.items()):
        left = GAP_PX + place * pitch
        pen.text((left, 5), title, fill="#111111", font=font)
        for row, pixels in enumerate(_pixels(column)):
            made.paste(_fitted(pixels), (left, TITLE_PX + GAP_PX // 2 + row * pitch))
    return made


def _pixels(column: Tensor) -> Sequence[np.ndarray]:
    assert column.ndim == 4 and column.shape[1] == 3, f"pictures (N, 3, H, W), not {tuple(column.shape)}"
    levels = column.detach().float().nan_to_num().clamp(0, 1) * 255
    return list(levels.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())


def _fitted(pixels: np.ndarray) -> Image.Image:
    picture = Image.fromarray(pixels)
    longest = max(picture.size)
    if longest <= CELL_PX:
        factor = CELL_PX // longest
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    size = [max(round(side * CELL_PX / longest), 1) for side in picture.size]
    return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
