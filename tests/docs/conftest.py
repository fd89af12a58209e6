"""Data as the pages have it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from viewmill.pipelines.shard_writer import write_shard


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/train-0000.tar ... train-0003.tar, 8 pictures each of as many classes."""
    folder = tmp_path_factory.mktemp("pages")
    rng = np.random.default_rng(0)
    for shard in range(4):
        samples = []
        for i in range(8):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(buffer, "JPEG")
            samples.append((f"{8 * shard + i:05d}", {"jpg": buffer.getvalue(), "cls": b"%d" % i}))
        write_shard(folder / "data" / f"train-{shard:04d}.tar", samples)
    return folder
