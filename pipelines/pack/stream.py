"""A stream that can only be gone through, written as shards once."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..faults import DataError
from ..image_header import read_header
from ..shard_writer import write_shard
from ..sources.datasets.items import image_and_label
from .index_only import index_only
from .report import Summary
from .settings import Settings

EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "GIF": "gif", "TIFF": "tif", "PPM": "ppm"}
"""By Pillow's format."""


def pack_stream(stream: Iterable[Any], target: str | Path, *, shard_bytes: int = 256 << 20, name: str = "shard") -> Summary:
    """Write the samples of a stream, in its order, as tar shards with indexes and a catalogue: `data=target` reads them.

    stream: a webdataset pipeline, a streamed table, an IterableDataset, any iterable of samples as `image_and_label` takes them:
    dictionaries, (image, label), images. Encoded images keep their bytes; decoded ones become PNGs. It has to end by itself.
    target: a new or empty local folder. Raises DataError for one that is not, for no sample, and for a sample without an image.
    """
    folder = Path(target)
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder}: not empty: name a new folder")
    if shard_bytes < 1:
        raise ValueError(f"shard_bytes needs a whole number >= 1, got {shard_bytes}")
    samples = _encoded(stream)
    first = next(samples, None)
    if first is None:
        raise DataError("pack_stream: the stream has no sample")
    shard = 0
    while first is not None:
        rest: list[tuple[str, dict[str, bytes]]] = []
        write_shard(folder / f"{name}-{shard:06d}.tar", _some(first, samples, shard_bytes, rest))
        first, shard = (rest[0] if rest else None), shard + 1
    return index_only([str(folder / f"{name}-*.tar")], None, Settings())


def _some(first: tuple[str, dict[str, bytes]], samples: Iterator[tuple[str, dict[str, bytes]]], most: int,
          rest: list[tuple[str, dict[str, bytes]]]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Samples up to so many bytes, one at least; the next one goes into rest."""
    size = sum(map(len, first[1].values()))
    yield first
    for sample in samples:
        size += sum(map(len, sample[1].values()))
        if size > most:
            rest.append(sample)
            return
        yield sample


def _encoded(stream: Iterable[Any]) -> Iterator[tuple[str, dict[str, bytes]]]:
    for number, item in enumerate(stream):
        image, label = image_and_label(item, f"sample {number}")
        data = _png(image) if isinstance(image, np.ndarray) else image
        files = {EXTENSIONS[read_header(data).format]: data}
        yield f"{number:09d}", files if label < 0 else {**files, "cls": str(label).encode()}


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.squeeze(2) if image.ndim == 3 and image.shape[2] == 1 else image).save(file, "PNG", compress_level=1)
    return file.getvalue()
