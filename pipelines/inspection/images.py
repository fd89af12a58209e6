"""Looking at one image: what its header says, whether its bytes are those that were packed, whether it can be decoded."""

from __future__ import annotations

import zlib
from typing import NamedTuple

from ..decode import MAX_PIXELS, decode
from ..faults import BadSample
from ..image_header import HEADS, Header, read_header
from .storage import Storage

CHECKSUM = "its bytes are not those that were packed (checksum)"
OTHER_SIZE = "its size is not that of the index"

EXTENSIONS = {"JPEG": ("jpg", "jpeg", "jpe"), "TIFF": ("tif", "tiff"), "PPM": ("ppm", "pgm")}
"""Of formats whose name is not all; the others have their own."""

_PNG_MODES = {0: "gray", 2: "colour", 3: "palette", 4: "gray and alpha", 6: "colour and alpha"}
_JPEG_MODES = {1: "gray", 3: "colour", 4: "CMYK"}


class Image(NamedTuple):
    """Where one lies. name: in its shard, or below its folder; checksum: the CRC-32 that a packer left; size_hw: in its index."""

    shard: str
    name: str
    key: str
    offset: int
    size: int
    checksum: int | None = None
    size_hw: tuple[int, int] | None = None

    @property
    def extension(self) -> str:
        return self.name.rpartition(".")[2].lower()


class Seen(NamedTuple):
    """kind, reason: of the damage, "" for none. data: all bytes where they were read, else some."""

    header: Header | None
    mode: str
    kind: str
    reason: str
    data: bytes

    @property
    def whole(self) -> bool:
        """It could be read and, where that was asked for, decoded."""
        return self.kind in ("", "size")


def look(storage: Storage, image: Image, whole: bool, decoded: bool) -> Seen:
    """whole: read all bytes, and compare them with the checksum where there is one; decoded: decode them, which needs all."""
    whole = whole or decoded
    header, data = None, b""
    try:
        data = _read(storage, image, image.size if whole else min(HEADS[0], image.size))
        if whole and image.checksum is not None and zlib.crc32(data) != image.checksum:
            return Seen(None, "", "checksum", CHECKSUM, data)
        header, data = _header(storage, image, data)
        if decoded:
            decode(data)
        elif header.height * header.width > MAX_PIXELS:
            raise BadSample(f"more than {MAX_PIXELS:,} pixels")
    except OSError as error:
        return Seen(header, "", "image", f"cannot be read ({error.strerror})", data)
    except BadSample as reason:
        return Seen(header, _mode(header, data), "image", str(reason), data)
    mode = _mode(header, data)
    if image.size_hw is not None and image.size_hw != (header.height, header.width):
        return Seen(header, mode, "size", OTHER_SIZE, data)
    return Seen(header, mode, "", "", data)


def fits(extension: str, header: Header) -> bool:
    """Whether a file of that format may have that extension."""
    return extension in EXTENSIONS.get(header.format, (header.format.lower(),))


def _read(storage: Storage, image: Image, size: int) -> bytes:
    data = storage.read(image.shard, image.offset, size)
    if len(data) != size:
        raise BadSample("its shard has become shorter")
    return data


def _header(storage: Storage, image: Image, data: bytes) -> tuple[Header, bytes]:
    """From as few bytes as it takes, as an index does. Raises BadSample and OSError."""
    for most in (*HEADS, image.size):
        if len(data) < min(most, image.size):
            data = _read(storage, image, min(most, image.size))
        try:
            return read_header(data), data
        except BadSample:
            if len(data) >= image.size:
                raise
    raise AssertionError("the last try has all bytes")


def _mode(header: Header | None, data: bytes) -> str:
    """Of JPEG and PNG, whose headers say it at once; "" of others."""
    if header is None:
        return ""
    if header.format == "JPEG":
        return _JPEG_MODES.get(header.channels, "")
    if header.format == "PNG" and len(data) > 25:
        return _PNG_MODES.get(data[25], "") + (", 16 bits" if data[24] == 16 else "")
    return ""
