"""The files of one run: some of the user's images, written once as shards that every arm reads, and that lie in memory."""

from __future__ import annotations

import io
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..decode import BadSample, decode
from ..image_header import read_header
from ..index_file import forget
from ..shard_writer import write_shard
from ..source import DataError, Source, open_source

EXTENSIONS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "gif": "GIF", "tif": "TIFF", "ppm": "PPM"}
"""By Pillow's format: webdataset and DALI go by the name, not by the content."""
QUALITY = 90
"""Of JPEGs that are made in another size."""


@dataclass(frozen=True)
class Files:
    """shards: tars of about as many files each; count: files; megapixels, kilobytes: means."""

    shards: tuple[Path, ...]
    count: int
    megapixels: float
    kilobytes: float

    def source(self) -> Source:
        return open_source(list(self.shards))

    def encoded(self) -> list[bytes]:
        source = self.source()
        return [bytes(source.read(i)) for i in range(len(source))]

    def __str__(self) -> str:
        return f"{self.count} images of {self.megapixels:.2g} megapixels and {self.kilobytes:.0f} KB"


class Folder:
    """A temporary folder of shards; leaving the context removes them, and what the index cache knows of them."""

    def __init__(self) -> None:
        self._path = Path(tempfile.mkdtemp(prefix="viewmill-bench-"))
        self._shards: list[Path] = []

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        for shard in self._shards:
            forget(shard)
        shutil.rmtree(self._path, ignore_errors=True)

    def write(self, encoded: Iterable[bytes], threads: int, name: str = "images") -> Files:
        """As many shards as four workers of each thread could share, none of them empty."""
        files = list(encoded)
        shards, pixels = min(len(files), 4 * threads), []
        for each in files:
            header = read_header(each)
            pixels.append(header.height * header.width)
        named = [(f"{number:05d}", {_extension(each): each}) for number, each in enumerate(files)]
        written = []
        for shard in range(shards):
            path = self._path / f"{name}-{shard:04d}.tar"
            self._shards.append(path)
            write_shard(path, named[shard::shards])
            written.append(path)
        return Files(tuple(written), len(files), float(np.mean(pixels)) / 1e6, float(np.mean([len(f) for f in files])) / 1e3)


def chosen(source: Source, images: int) -> list[bytes]:
    """So many files spread evenly over the source, or all; those that cannot be decoded are passed over.

    Raises DataError where they are no files but arrays, or where none can be decoded.
    """
    found, bad = [], ""
    for index in np.linspace(0, len(source) - 1, min(images, len(source))).astype(int).tolist():
        try:
            encoded = source.read(index)
            if isinstance(encoded, np.ndarray):
                raise DataError("bench measures from files on: give tar shards or a folder of images, not arrays")
            decode(encoded)
            found.append(bytes(encoded))
        except BadSample as error:
            bad = f"; the last is {source.where(index)}: {error}"
    if not found:
        raise DataError(f"none of the images can be decoded{bad}")
    return found


def resized(encoded: bytes, megapixels: float) -> bytes:
    """The same picture with so many pixels, by Pillow's bicubic filter, as a JPEG of quality 90."""
    image = Image.fromarray(decode(encoded))
    factor = math.sqrt(megapixels * 1e6 / (image.width * image.height))
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def at_least(files: Files, batch_size: int) -> None:
    """Raises ValueError for fewer files than a batch holds."""
    if files.count < batch_size:
        raise ValueError(f"a batch of {batch_size} images is larger than the {files.count} files of the run: "
                         f"use batch_size={files.count} or fewer, or more images")


def resized_all(encoded: list[bytes], megapixels: float, count: int, say: Callable[[str], None]) -> list[bytes]:
    say(f"making {count} JPEGs of {megapixels:g} megapixels")
    return [resized(encoded[number % len(encoded)], megapixels) for number in range(count)]


def _extension(encoded: bytes) -> str:
    format = read_header(encoded).format
    return next((extension for extension, name in EXTENSIONS.items() if name == format), "jpg")
