"""Small pictures to stream, and what a batch showed in a form that can be compared."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from viewmill import Batch, Loader, Recipe, View, recipe
from viewmill.augment.ops import Crop, Flip

SMALL = Recipe(name="small", views=(
    View(group="global", count=2, size_px=8, ops=(Crop(size_px=8, scale=(0.3, 1.0)), Flip(p=0.5))),
    View(group="local", count=3, size_px=6, ops=(Crop(size_px=6, scale=(0.1, 0.3)), Flip(p=0.5))),
))
"""Two groups, five views, no colour: fast to make and different for each sample, epoch and view."""

CIFAR = recipe("simclr_cifar")


def pictures(count: int, seed: int = 3) -> list[np.ndarray]:
    """(H, W, 3) uint8 noise, sides 9 to 20 px, no two alike."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*rng.integers(9, 21, 2), 3), np.uint8) for _ in range(count)]


def data(count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """count pictures and their labels, as the loader takes arrays."""
    return pictures(count), np.arange(count) % 10


def jpeg(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95)
    return file.getvalue()


def folder(root: Path, count: int, broken: Iterable[int] = (), headless: Iterable[int] = ()) -> Path:
    """A folder of JPEGs 000.jpg, 001.jpg, ...; of the broken ones only the first half is there, of the headless nothing."""
    target = root / "pictures"
    target.mkdir()
    for number, picture in enumerate(pictures(count)):
        content = jpeg(np.kron(picture, np.ones((4, 4, 1), np.uint8)))
        content = content[: len(content) // 2] if number in set(broken) else content
        (target / f"{number:03}.jpg").write_bytes(b"no picture" if number in set(headless) else content)
    return target


def pixels(batch: Batch, row: int) -> str:
    """A digest of all views of one sample."""
    digest = hashlib.sha256()
    for group in sorted(batch.views):
        digest.update(batch.views[group][:, row].contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def shown(batch: Batch) -> list[tuple[int, int, int, str]]:
    """Of each sample: epoch, position, index, pixels."""
    return [(batch.epoch, int(batch.position[i]), int(batch.index[i]), pixels(batch, i)) for i in range(len(batch))]


def flat(batches: Iterable[list[Any]]) -> list[Any]:
    """All samples of some batches, in order."""
    return [sample for batch in batches for sample in batch]


def run(loader: Loader) -> list[list[tuple[int, int, int, str]]]:
    """What one whole pass showed, batch by batch; the loader is closed."""
    with loader:
        return [shown(batch) for batch in loader]


def local(count: int, batch_size: int, **options: Any) -> Loader:
    """A loader of `count` small pictures in memory, rendering in threads of this process."""
    return Loader(data(count), options.pop("recipe", SMALL), batch_size, **{"sidecar": False, "threads": 2, **options})
