"""The size of an encoded image from its first bytes; no pixel is decoded."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from PIL import Image

from .faults import BadSample

_PLUGINS = ("Bmp", "Gif", "Jpeg", "Png", "Ppm", "Tiff", "WebP")
for _plugin in _PLUGINS:  # now, and not on first use, which would race between threads
    import_module(f"PIL.{_plugin}ImagePlugin")

FORMATS = tuple(_plugin.upper() for _plugin in _PLUGINS)
"""All that Pillow may open here: formats of pixels. Others run programs (EPS runs Ghostscript) or only point at files."""

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
HEADS = (4096, 65536)
"""Nearly all images need the first; EXIF data and colour profiles need the second; the rest need all."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset(range(0xD0, 0xDA)) | {0x01}


class Header(NamedTuple):
    """format is a name of Pillow's; channels is 0 where it was not looked up; frame: a JPEG's frame marker, 0xC0 for baseline."""

    format: str
    height: int
    width: int
    channels: int = 0
    frame: int = 0


def image_size(data: bytes) -> tuple[int, int]:
    """(height, width) in pixels, as decoded: EXIF orientation is ignored. Raises BadSample where there is no image header."""
    header = read_header(data)
    return header.height, header.width


def size_by_parts(read: Callable[[int], bytes], total: int) -> tuple[int, int]:
    """image_size from as few bytes as it takes; (0, 0) where there is no image header. read(n): the first n bytes of total."""
    for most in (*HEADS, total):
        try:
            return image_size(read(min(most, total)))
        except BadSample:
            if most >= total:
                break
    return 0, 0


def read_header(data: bytes) -> Header:
    """By content, never by file name. data: the first bytes of the file, or all of it. Raises BadSample."""
    if not len(data):
        raise BadSample("empty, 0 bytes")
    if data[:3] == _JPEG:
        header = _jpeg(data)
    elif data[:8] == _PNG and data[12:16] == b"IHDR" and len(data) >= 24:
        header = Header("PNG", int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big"))
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        header = _webp(data)
    else:
        header = _pillow(data)
    if header.height < 1 or header.width < 1:
        raise BadSample(f"{header.format} header without a size")
    return header


def _jpeg(data: bytes) -> Header:
    """The first frame header (SOFn). Source: ITU-T T.81, annex B."""
    at, end = 2, len(data)
    while at + 4 <= end:
        if data[at] != 0xFF:
            at = data.find(b"\xff", at)  # libjpeg skips garbage between segments as well
            if at < 0:
                break
            continue
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _BARE or marker == 0:
            if marker == 0xD9:
                raise BadSample("JPEG without an image")
            at += 2
        elif marker in _FRAMES:
            if at + 10 > end:
                break
            height, width = int.from_bytes(data[at + 5:at + 7], "big"), int.from_bytes(data[at + 7:at + 9], "big")
            return Header("JPEG", height, width, data[at + 9], marker)
        elif marker == 0xDA:
            raise BadSample("JPEG header without a size")
        else:
            at += 2 + int.from_bytes(data[at + 2:at + 4], "big")
    raise BadSample("JPEG cut short before its size")


def _webp(data: bytes) -> Header:
    """Source: the WebP container specification; RFC 6386 and 9649 for the first frame's own size."""
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        return Header("WEBP", int.from_bytes(data[28:30], "little") & 0x3FFF, int.from_bytes(data[26:28], "little") & 0x3FFF)
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return Header("WEBP", (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1)
    if kind == b"VP8X":
        return Header("WEBP", int.from_bytes(data[27:30], "little") + 1, int.from_bytes(data[24:27], "little") + 1)
    raise BadSample("WEBP header without a size")


def _pillow(data: bytes) -> Header:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return Header(image.format or "", image.height, image.width)
    except Image.DecompressionBombError:
        raise BadSample("too many pixels") from None
    except Exception as error:  # plugins raise whatever a damaged file leads them to
        raise BadSample("not an image") from error
