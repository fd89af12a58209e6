"""An image's bytes as they go into the shard: kept wherever nothing has to change."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..decode import MAX_PIXELS, decode
from ..faults import BadSample
from ..image_header import FORMATS, Header, read_header
from .settings import Settings

EXTENSION = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "DIB": "bmp", "GIF": "gif", "TIFF": "tif", "PPM": "ppm"}
_ORIENTATION = 0x0112
_TURN = Image.Transpose
_TURNS = {2: _TURN.FLIP_LEFT_RIGHT, 3: _TURN.ROTATE_180, 4: _TURN.FLIP_TOP_BOTTOM, 5: _TURN.TRANSPOSE, 6: _TURN.ROTATE_270,
          7: _TURN.TRANSVERSE, 8: _TURN.ROTATE_90}
"""What undoes each EXIF orientation. Source: Exif 2.32, tag 274."""
_SPARE = 2
"""An image is decoded at a fraction of its size where the fraction is still this many times as large as what comes out."""


class Made(NamedTuple):
    """extension: "" where the bytes are those that came in."""

    data: bytes
    extension: str
    height: int
    width: int


def finished(data: bytes, settings: Settings) -> Made:
    """Check, and encode anew where a side is too long or, with orient, the EXIF orientation is not the upright one.

    What is encoded anew becomes a JPEG of settings.quality with 4:2:0 chroma: gray stays gray, a colour profile stays, alpha goes
    as it does when views are made, and of EXIF only an orientation that was not applied stays. Raises BadSample.
    """
    if settings.verify == "none" and not settings.reencodes:
        return Made(data, "", 0, 0)
    try:
        header = read_header(data)
    except BadSample:
        if settings.verify == "none":
            return Made(data, "", 0, 0)
        raise
    if header.height * header.width > MAX_PIXELS:
        raise BadSample(f"more than {MAX_PIXELS:,} pixels")
    height, width = target(header.height, header.width, settings.shortest, settings.longest)
    turned = _orientation(data) if settings.orient else 1
    if (height, width) == (header.height, header.width) and turned == 1:
        if settings.verify == "decode":
            decode(data)
        return Made(data, "", height, width)
    made = encoded(data, header, (height, width), turned, settings.quality)
    return Made(made, "jpg", *((width, height) if turned >= 5 else (height, width)))


def target(height: int, width: int, shortest: int, longest: int) -> tuple[int, int]:
    """(height, width) in pixels, never larger: the named side exact, the other rounded to the nearest, at least 1."""
    side = min(height, width) if shortest else max(height, width)
    wanted = shortest or longest
    if not wanted or side <= wanted:
        return height, width
    return max(1, (2 * height * wanted + side) // (2 * side)), max(1, (2 * width * wanted + side) // (2 * side))


def encoded(data: bytes, header: Header, size_hw: tuple[int, int], turned: int, quality: int) -> bytes:
    """A JPEG of size_hw before turning. A large JPEG is decoded at 1/2, 1/4 or 1/8 where that leaves twice the size or more."""
    sides = list(zip((header.height, header.width), size_hw, strict=True))
    scale = max(d for d in (1, 2, 4, 8) if d == 1 or all(-(-side // d) >= _SPARE * out for side, out in sides))
    pixels = decode(data, scale if header.format == "JPEG" else 1)
    gray = header.channels == 1 or bool((pixels[..., :1] == pixels).all())
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0]) if gray else pixels)
    if image.size != size_hw[::-1]:
        image = image.resize(size_hw[::-1], Image.Resampling.BICUBIC)
    profile, orientation = _about(data)
    if header.channels == 4 or gray:  # of CMYK, and of what has become gray, it is no longer the profile
        profile = b""
    exif = Image.Exif()
    if turned != 1:
        image = image.transpose(_TURNS[turned])
    elif orientation != 1:
        exif[_ORIENTATION] = orientation
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling="4:2:0", exif=exif.tobytes() if len(exif) else b"",
               icc_profile=profile or None)
    return file.getvalue()


def extension_of(data: bytes, otherwise: str = "jpg") -> str:
    """By content; `otherwise` for what is no image."""
    try:
        return EXTENSION.get(read_header(data).format, otherwise)
    except BadSample:
        return otherwise


def _orientation(data: bytes) -> int:
    return _about(data)[1]


def _about(data: bytes) -> tuple[bytes, int]:
    """(colour profile, EXIF orientation 1..8); what cannot be read counts as none and 1."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            orientation = image.getexif().get(_ORIENTATION, 1)
            return image.info.get("icc_profile") or b"", orientation if orientation in range(1, 9) else 1
    except Exception:  # plugins raise whatever a damaged file leads them to
        return b"", 1
