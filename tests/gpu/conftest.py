"""Tests of a GPU: they skip, and say why, where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture(autouse=True, scope="session")
def cuda() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 512 JPEGs of 300 to 600 px, progressive ones and a damaged one among them."""
    root, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    for number in range(512):
        height, width = rng.integers(300, 601, 2).tolist()
        small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
        smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int64)
        noisy = (smooth + rng.integers(-9, 10, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(root / f"{number:03}.jpg", quality=90, progressive=number % 50 == 7)
    damaged = root / "123.jpg"
    damaged.write_bytes(damaged.read_bytes()[:5000])
    return root
