"""Bytes -> uint8 (H, W, 3), or the reason why not."""

from __future__ import annotations

import io
import re

import numpy as np
import simplejpeg
from PIL import Image

from ..augment.scaled_decode import DENOMINATORS, reduced
from .faults import BadSample
from .image_header import FORMATS, Header, image_size, read_header

__all__ = ["MAX_PIXELS", "BadSample", "decode", "image_size"]

MAX_PIXELS = 178_956_970
"""Larger images are refused by their header, before memory is taken. Pillow's own bound for an error. Of a JPEG that is decoded
at a fraction of its size block by block (not progressive), the scaled one counts."""

_BLOCK_BY_BLOCK = (0xC0, 0xC1)
"""Frames of JPEGs of which libjpeg holds a few rows at a time; of progressive ones it holds all coefficients."""

_NUMBERS = re.compile(r"\b(0x[0-9a-f]+|\d+)\b")


def decode(data: bytes | np.ndarray, denominator: int = 1) -> np.ndarray:
    """uint8 (H, W, 3), C-contiguous: Pillow's pixels, bit for bit, by `convert("RGB")`.

    data: an encoded image (JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, told apart by content), or uint8 (H, W, 3), (H, W, 1) or
    (H, W). Gray images have three equal channels; alpha is dropped; of an animation the first frame is taken; 16-bit gray
    keeps its upper 8 bits (Pillow would clip it to white); EXIF orientation and colour profiles are ignored.

    denominator d: 1, 2, 4 or 8; gives (ceil(H / d), ceil(W / d), 3). A JPEG is decoded at that scale, as Pillow's draft mode does
    it, bit for bit; CMYK, rare sampling factors and all other formats are decoded whole and become means of blocks.

    Raises BadSample, also where libjpeg only warns (data cut short, corrupt, or left over): it fills such images with
    gray, or with what a flipped bit makes of them, and says nothing more.
    """
    if denominator not in DENOMINATORS:
        raise ValueError(f"denominator needs one of {', '.join(map(str, DENOMINATORS))}, got {denominator!r}")
    if isinstance(data, np.ndarray):
        return reduced(_pixels(data), denominator)
    header = read_header(data)
    height, width = header.height, header.width
    if header.frame in _BLOCK_BY_BLOCK and header.channels != 4:
        height, width = -(-height // denominator), -(-width // denominator)
    if height * width > MAX_PIXELS:
        raise BadSample(f"more than {MAX_PIXELS:,} pixels")
    if header.format == "JPEG":
        return _jpeg(data, header, denominator)
    return reduced(_pillow(data, header), denominator)


def _pixels(data: np.ndarray) -> np.ndarray:
    if data.dtype != np.uint8 or data.ndim not in (2, 3) or (data.ndim == 3 and data.shape[2] not in (1, 3)) or data.size == 0:
        raise BadSample("an array that is not uint8 (H, W, 3), (H, W, 1) or (H, W)")
    if data.ndim == 2 or data.shape[2] == 1:
        data = np.repeat(data.reshape(*data.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(data)


def _jpeg(data: bytes, header: Header, denominator: int) -> np.ndarray:
    """libjpeg-turbo as Pillow uses it: the accurate DCT and smooth upsampling, simplejpeg's defaults."""
    try:
        if header.channels == 4:  # Adobe's CMYK and YCCK: checked here, turned into RGB by Pillow
            simplejpeg.decode_jpeg(data, colorspace="CMYK", strict=True)
            return reduced(_pillow(data, header), denominator)
        if denominator == 1:
            return simplejpeg.decode_jpeg(data, strict=True)
        # The least scale that leaves both sides that long is the one meant, at any size that a view shrinks.
        height, width = -(-header.height // denominator), -(-header.width // denominator)
        return simplejpeg.decode_jpeg(data, min_height=height, min_width=width, strict=True)
    except ValueError as error:
        text = str(error)
    if "subsampling" in text:  # rare factors that TurboJPEG has no name for
        return reduced(_pillow(data, header), denominator)
    if "Premature end of JPEG" in text:
        raise BadSample("JPEG cut short")
    raise BadSample(f"JPEG damaged ({_NUMBERS.sub('N', text)})")


def _pillow(data: bytes, header: Header) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()
            image.info.pop("transparency", None)  # does not touch RGB, but Pillow warns about it
            if image.mode[0] == "I":  # 16 bits, or 16 in 32
                upper = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
                return np.repeat(upper[..., None], 3, axis=2)
            return np.array(image.convert("RGB"))
    except Exception as error:  # plugins raise whatever a damaged file leads them to
        if header.format == "JPEG":
            raise BadSample("JPEG cut short or damaged") from error
        raise BadSample(f"{header.format} cannot be decoded ({type(error).__name__})") from error
