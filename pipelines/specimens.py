"""Pictures made on the spot, of whole numbers only, so that they have the same bytes on every machine; and files of them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, features

from .decode import decode
from .sources.arrays import ArraySource

SIZES_HW = {"gradient": (131, 97), "stripes": (98, 203), "text": (61, 83), "field": (225, 301)}
"""Odd, wide, tall, and one larger than the views that are made of it."""

WEIGHTS = {64: 50, 32: 30, 16: 18, 8: 12, 4: 8, 2: 6, 1: 5}
"""Of a field's noises, by the distance of their points in pixels."""


class FileSource(ArraySource):
    """Encoded pictures in memory as a data set; each is shown `repeats` times."""

    def __init__(self, files: Sequence[bytes], repeats: int = 1) -> None:
        super().__init__([decode(file) for file in files] * repeats)
        self.files = list(files) * repeats

    def read(self, index: int) -> bytes:  # type: ignore[override]
        return self.files[index]


def pictures() -> dict[str, np.ndarray]:
    """(H, W, 3) uint8 each, by name, see SIZES_HW."""
    makers = {"gradient": _gradient, "stripes": _stripes, "text": _text, "field": field}
    return {name: makers[name](*size_hw) for name, size_hw in SIZES_HW.items()}


def files() -> dict[str, bytes]:
    """The pictures and one more in the formats that data sets have: files by name."""
    found = pictures()
    small = field(150, 211, salt=5)
    made = {
        "jpeg": encode(found["gradient"], quality=95),
        "jpeg-444": encode(found["stripes"], quality=95, subsampling=0),
        "jpeg-field": encode(found["field"], quality=90),
        "jpeg-progressive": encode(small, quality=90, progressive=True),
        "jpeg-gray": encode(small[..., 1], quality=90),
        "jpeg-cmyk": encode(small, mode="CMYK", quality=90),
        "png": encode(found["text"], "PNG"),
    }
    if features.check("webp"):  # some builds of Pillow leave it out
        made["webp"] = encode(small, "WEBP", lossless=True)
    return made


def photographs(count: int, size_hw: tuple[int, int] = (375, 500)) -> list[bytes]:
    """JPEGs like those of ImageNet, 0.2 megapixels and about 100 KB by default: windows of one large picture."""
    height, width = size_hw
    large = field(2 * height, 2 * width, salt=100)
    top, left = ((np.arange(count) * step) % side for step, side in ((137, height), (211, width)))
    return [encode(large[t:t + height, x:x + width], quality=95) for t, x in zip(top, left, strict=True)]


def encode(picture: np.ndarray, format: str = "JPEG", mode: str | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    (image if mode is None else image.convert(mode)).save(buffer, format, **options)
    return buffer.getvalue()


def field(height: int, width: int, salt: int = 0) -> np.ndarray:
    """As a photograph is: smooth at large, finer and fainter detail the closer one looks, channels alike but not equal."""
    channels = []
    gray = sum(_noise(height, width, cell, salt) * weight for cell, weight in WEIGHTS.items())
    for channel in range(3):
        tint = _noise(height, width, 48, salt + 7 * channel + 1)
        channels.append((3 * gray // sum(WEIGHTS.values()) + tint) // 4)
    levels = np.stack(channels, -1)
    return ((levels - 64) * 2).clip(0, 255).astype(np.uint8)


def _gradient(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // (width - 1), 255 - y * 255 // (height - 1), (x + y) * 255 // (height + width - 2)],
                    -1).astype(np.uint8)


def _stripes(height: int, width: int) -> np.ndarray:
    """One to eight pixels wide from left to right, slanted by another angle in each channel."""
    y, x = np.mgrid[0:height, 0:width]
    period = 1 + 8 * x // width
    return np.stack([(x + slant * y // 4) // period % 2 * 255 for slant in (0, 1, 3)], -1).astype(np.uint8)


def _text(height: int, width: int) -> np.ndarray:
    """Lines of dark letters of 3 x 5 random dots on light paper."""
    y, x = np.mgrid[0:height, 0:width]
    inked = (_hash(y * 65536 + x) % 2 == 0) & (y % 8 < 5) & (x % 4 < 3)
    paper = np.array([247, 240, 229])
    return np.where(inked[..., None], paper // 6, paper).astype(np.uint8)


def _noise(height: int, width: int, cell: int, salt: int) -> np.ndarray:
    """(height, width) int64 levels: random at every cell-th pixel, linear between."""
    y, x = np.arange(height)[:, None], np.arange(width)[None]
    row, column, down, right = y // cell, x // cell, y % cell, x % cell
    start = _hash(np.array([salt * 64 + cell]))

    def corner(i: int, j: int) -> np.ndarray:
        return _hash((row + i) * 65536 + column + j ^ start) >> 24

    upper = corner(0, 0) * (cell - right) + corner(0, 1) * right
    lower = corner(1, 0) * (cell - right) + corner(1, 1) * right
    return (upper * (cell - down) + lower * down) // (cell * cell)


def _hash(number: np.ndarray) -> np.ndarray:
    """Whole numbers -> 32 bits each, int64, as if by chance: two rounds of multiply and shift."""
    word = number.astype(np.int64) & 0xFFFFFFFF
    for factor, shift in ((0x7FEB352D, 15), (0x846CA68B, 16)):
        word = (word ^ word >> 16) * factor & 0xFFFFFFFF
        word ^= word >> shift
    return word ^ word >> 16
