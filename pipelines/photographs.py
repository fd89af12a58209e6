"""The embedded data set: tiles of the public photographs that scikit-image carries. Class = picture.

Training tiles come from the left half of each picture, test tiles from the right half, so none shows what another shows.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from .shard_writer import write_shard

PICTURES = ("astronaut", "brick", "camera", "cell", "chelsea", "clock", "coffee", "coins", "grass", "gravel",
            "hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "rocket", "stereo_motorcycle")
SHORT_SIDE_PX = 256
TILE_PX = 64


def write_tiles(folder: Path, train_per_picture: int = 300, test_per_picture: int = 60, shards: int = 4) -> tuple[str, str]:
    """Write folder/train-000i.tar and folder/test-0000.tar; return both patterns. Shards that are there stay.

    Samples are JPEGs of 64 px with a .cls label 0..16, the picture's place in PICTURES. Needs scikit-image.
    """
    test = folder / "test-0000.tar"
    if not test.exists():  # written last, so it stands for all of them
        pictures = photographs()
        train = list(_tiles(pictures, 0, train_per_picture))
        for i in range(shards):
            write_shard(folder / f"train-{i:04d}.tar", train[i::shards])
        write_shard(test, _tiles(pictures, 1, test_per_picture))
    return str(folder / f"train-{{0000..{shards - 1:04d}}}.tar"), str(test)


def photographs() -> list[np.ndarray]:
    """The pictures, (H, W, 3) uint8, short side 256 px."""
    try:
        from skimage import data
    except ImportError:
        raise ValueError("the embedded photographs come with scikit-image: pip install 'viewmill[demo]'") from None
    pictures = []
    for name in PICTURES:
        loaded = getattr(data, name)()
        picture = Image.fromarray(loaded[0] if isinstance(loaded, tuple) else loaded).convert("RGB")
        scale = SHORT_SIDE_PX / min(picture.size)
        size = (max(SHORT_SIDE_PX, round(picture.width * scale)), max(SHORT_SIDE_PX, round(picture.height * scale)))
        pictures.append(np.asarray(picture.resize(size, Image.Resampling.LANCZOS)))
    return pictures


def _tiles(pictures: list[np.ndarray], half: int, count: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Tiles at random places of the left (0) or right (1) half of each picture, the pictures taking turns."""
    rng = np.random.default_rng(half)
    for i in range(count):
        for label, picture in enumerate(pictures):
            middle = picture.shape[1] // 2
            side = picture[:, :middle] if half == 0 else picture[:, middle:]
            top, left = rng.integers(side.shape[0] - TILE_PX + 1), rng.integers(side.shape[1] - TILE_PX + 1)
            buffer = io.BytesIO()
            Image.fromarray(side[top : top + TILE_PX, left : left + TILE_PX]).save(buffer, "JPEG", quality=95)
            yield f"{PICTURES[label]}-{i:04d}", {"jpg": buffer.getvalue(), "cls": str(label).encode()}
