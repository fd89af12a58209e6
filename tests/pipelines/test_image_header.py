"""Sizes from the first bytes: as Pillow reads them, for every format, with no pixel decoded."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from viewmill.pipelines.faults import BadSample
from viewmill.pipelines.image_header import image_size, read_header, size_by_parts

from .shards import encoded, picture

FORMATS = [
    ("JPEG", {}), ("JPEG", {"progressive": True}), ("JPEG", {"exif": b"Exif\0\0" + bytes(60_000),
                                                             "icc_profile": bytes(100_000)}),
    ("PNG", {}), ("WEBP", {}), ("WEBP", {"lossless": True}), ("WEBP", {"exif": b"Exif\0\0ab"}), ("BMP", {}),
    ("GIF", {}), ("TIFF", {}), ("PPM", {}),
]


@pytest.mark.parametrize(("kind", "options"), FORMATS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 7), (300, 259)])
def test_every_format(kind: str, options: dict, height: int, width: int) -> None:
    data = encoded(picture(height, width), kind, **options)
    assert image_size(data) == (height, width)
    assert read_header(data).format == kind


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("kind", "options"), FORMATS)
def test_equals_pillow_at_random_sizes(kind: str, options: dict, seed: int) -> None:
    height, width = np.random.default_rng(seed).integers(1, 700, 2).tolist()
    data = encoded(picture(height, width), kind, **options)
    assert image_size(data) == Image.open(io.BytesIO(data)).size[::-1]


def test_an_animation_has_the_size_of_its_canvas() -> None:
    frames = [Image.fromarray(picture(5, 9, i)) for i in range(3)]
    assert image_size(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])) == (5, 9)


def test_exif_orientation_turns_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    assert image_size(encoded(picture(4, 9), exif=exif)) == (4, 9)


def test_fill_bytes_and_garbage_between_segments_are_passed_over() -> None:
    data = encoded(picture(4, 9))
    fake = b"\xff\xc0\x00\x11\x08\x00\x63\x00\x63\x03"  # inside a segment, so no header
    comment = b"\xff\xfe\x00\x0c" + fake
    for fill in (b"", b"\xff", b"\xff\xff"):
        assert image_size(data[:2] + fill + comment + data[2:]) == (4, 9)
    assert image_size(data[:2] + b"\xff\x01" + data[2:]) == (4, 9)  # TEM, a marker without a segment
    assert image_size(data[:2] + b"\xff\xc4\x00\x0a\0\0\0\x63\0\x63\0\0" + data[2:]) == (4, 9)  # Huffman tables may come first
    app0 = 4 + int.from_bytes(data[4:6], "big")
    assert image_size(data[:app0] + b"\0\0\1" + data[app0:]) == (4, 9)


def test_a_large_image_is_measured_by_its_header_alone() -> None:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 40_000, 8, 2, 0, 0, 0)
    assert image_size(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I",
                                                                                         zlib.crc32(chunk))) == (40_000, 30_000)


@pytest.mark.parametrize(("data", "reason"), [
    (b"", "empty, 0 bytes"),
    (b"hello, world" * 9, "not an image"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    (b"\xff\xd8\xff\xe0\x00\x10JFIF", "JPEG cut short before its size"),
    (b"\xff\xd8\xff" + bytes(5000), "JPEG cut short before its size"),
    (b"\xff\xd8\xff\xd9" + bytes(9), "JPEG without an image"),
    (b"\xff\xd8\xff\xda\x00\x08" + bytes(9), "JPEG header without a size"),
    (b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x00\x00\x09\x03" + bytes(9), "JPEG header without a size"),  # height 0: left to DNL
    (b"RIFF\x40\0\0\0WEBPVP8 " + bytes(30), "WEBP header without a size"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + bytes(20), "PNG header without a size"),
])
def test_what_has_no_size_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(BadSample, match=f"^{reason}$"):
        image_size(data)


def test_as_few_bytes_are_read_as_it_takes() -> None:
    plain = encoded(picture(200, 200), quality=95)
    long = encoded(picture(200, 200), icc_profile=bytes(100_000))
    for data, expected in ((plain, [4096]), (long, [4096, 65536, len(long)]), (b"x" * 9000, [4096, 9000, 9000])):
        asked: list[int] = []

        def read(most: int, data: bytes = data, asked: list[int] = asked) -> bytes:
            asked.append(most)
            return data[:most]

        assert size_by_parts(read, len(data)) == ((0, 0) if data[:1] == b"x" else (200, 200))
        assert asked == expected[:len(asked)] and len(asked) >= min(len(expected), 1)
        if data is not plain:
            assert asked[-1] == len(data)


def test_a_jpeg_header_tells_baseline_from_progressive() -> None:
    """Markers C0 and C2 of ITU-T T.81, table B.1."""
    assert read_header(encoded(picture(20, 30), "JPEG")).frame == 0xC0
    assert read_header(encoded(picture(20, 30), "JPEG", progressive=True)).frame == 0xC2
    assert read_header(encoded(picture(20, 30), "PNG")).frame == 0
