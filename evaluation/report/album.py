"""Pictures inside the page: as they are where they are small, made smaller where they would make it heavy."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

BUDGET_BYTES = 6_000_000
"""Of all pictures of a page, before base64 makes them a third larger."""

LONGEST_PX, AS_IS_BYTES = 1600, 400_000
"""A file that is larger, in pixels or in bytes, is shrunk to this side and written as JPEG."""

PIXELATED_PX = 96
"""Views up to this side keep every pixel, and are shown enlarged, pixel by pixel."""


class Album:
    """Counts what it has taken in; what no longer fits is refused."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self.left_bytes = budget_bytes

    def file(self, path: Path) -> str | None:
        """The PNG or JPEG file as the address of an image, or None where it is none, or does not fit."""
        try:
            with Image.open(path, formats=["PNG", "JPEG"]) as image:
                kind = "png" if image.format == "PNG" else "jpeg"
                if max(image.size) <= LONGEST_PX and path.stat().st_size <= AS_IS_BYTES:
                    return self._taken(path.read_bytes(), kind)
                small = image.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None
        small.thumbnail((LONGEST_PX, LONGEST_PX))
        return self._taken(_encoded(small, "JPEG"), "jpeg")

    def pixels(self, pixels: np.ndarray, *, exact: bool) -> str | None:
        """(H, W, 3) uint8; exact: to the bit, else as JPEG."""
        image = Image.fromarray(pixels)
        if exact:
            return self._taken(_encoded(image, "PNG"), "png")
        image.thumbnail((384, 384))
        return self._taken(_encoded(image, "JPEG"), "jpeg")

    def _taken(self, data: bytes, kind: str) -> str | None:
        if len(data) > self.left_bytes:
            return None
        self.left_bytes -= len(data)
        return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"optimize": True} if kind == "PNG" else {"quality": 88}))
    return buffer.getvalue()
