"""Encoded pictures and tars made on the spot, for the tests of sources."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def encoded(picture: np.ndarray | Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8 of noise: no two alike."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write_tar(path: Path, files: Sequence[tuple[str, bytes]], layout: int = tarfile.USTAR_FORMAT, **members: Any) -> Path:
    with tarfile.open(path, "w", format=layout) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for field, value in members.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(data))
    return path


def shard(path: Path, count: int, first: int = 0, labelled: bool = True) -> Path:
    """A tar of small JPEGs named first, first + 1, ...; sample i is 4 + i % 3 pixels high, 8 wide, with label i % 5."""
    files = []
    for i in range(first, first + count):
        files.append((f"{i:05d}.jpg", encoded(picture(4 + i % 3, 8, i))))
        if labelled:
            files.append((f"{i:05d}.cls", str(i % 5).encode()))
    return write_tar(path, files)
