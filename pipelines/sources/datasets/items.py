"""What a sample of somebody else's data set is: which part of it is the image, which the label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from ...faults import BadSample, DataError
from ...image_header import read_header

LABELS = ("label", "labels", "cls", "target", "class", "y")
"""What a label is called, the likeliest first."""


def image_and_label(item: Any, where: str) -> tuple[bytes | np.ndarray, int]:
    """The image of a sample, encoded or uint8 (H, W, 3) or (H, W), and its label, -1 where there is none.

    item: a dictionary, whose only image is taken; a pair (image, label), more behind it is left; or an image alone: encoded
    bytes, a Pillow image, a uint8 tensor (C, H, W) or array (H, W, C). Raises DataError for anything else, where it says so.
    """
    if isinstance(item, Mapping):
        images = {name: image for name, value in item.items() if (image := _image(value)) is not None}
        if len(images) != 1:
            raise DataError(f"{where}: needs one image, found {', '.join(map(str, images)) or 'none'} among "
                            f"{', '.join(map(str, item))}{_hint(item.values())}")
        return next(iter(images.values())), next((label for name in LABELS if (label := whole(item.get(name))) is not None), -1)
    parts = list(item) if isinstance(item, tuple | list) else [item]
    image = _image(parts[0]) if parts else None
    if image is None:
        raise DataError(f"{where}: needs an image first, got {_told(parts[0]) if parts else 'nothing'}{_hint(parts[:1])}")
    label = whole(parts[1]) if len(parts) > 1 else None
    return image, -1 if label is None else label


def whole(value: Any) -> int | None:
    """A label as a whole number; None for what is none."""
    if isinstance(value, bytes) and value.strip().isdigit():  # of a tar's .cls
        return int(value)
    if isinstance(value, bool) or not (isinstance(value, int | np.integer) or (hasattr(value, "ndim") and value.ndim == 0)):
        return None
    number = value.item() if hasattr(value, "item") else value
    return int(number) if isinstance(number, int) else None


def _image(value: Any) -> bytes | np.ndarray | None:
    """None where it is no image, or one that has been changed into something else than levels."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value) if _is_encoded(bytes(value)) else None
    if isinstance(value, Image.Image):
        return np.asarray(value.convert("RGB"))
    shape = tuple(getattr(value, "shape", ()))
    if len(shape) not in (2, 3) or "uint8" not in str(getattr(value, "dtype", "")):
        return None
    array = np.asarray(value)
    channels_first = len(shape) == 3 and shape[0] in (1, 3) and (shape[2] not in (1, 3) or not isinstance(value, np.ndarray))
    array = np.ascontiguousarray(array.transpose(1, 2, 0)) if channels_first else array
    return array if array.ndim == 2 or array.shape[2] in (1, 3) else None


def _is_encoded(data: bytes) -> bool:
    try:
        read_header(data)
    except BadSample:
        return False
    return True


def _told(value: Any) -> str:
    kind = type(value).__name__
    return f"{kind} of {str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}" if hasattr(value, "dtype") else kind


def _hint(values: Any) -> str:
    floats = any("float" in str(getattr(value, "dtype", "")) for value in values)
    return ": it has been through a transform, which the recipe is in place of: take it off the data set" if floats else ""
