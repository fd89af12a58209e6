"""Fixtures of all tests: where the development images lie, pictures made on the spot, and ranks for distributed cases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from .world import World

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and rendered oracles; the product works without, so tests that want it skip."""
    folder = Path(os.environ.get("VIEWMILL_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "oracles").is_dir():
        pytest.skip(f"no development images at {folder} (set VIEWMILL_SHARED)")
    return folder


@pytest.fixture(scope="session")
def photograph() -> np.ndarray:
    """(61, 83, 3) uint8: smooth gradients, an edge and noise; no two rows, columns or channels alike."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:61, 0:83]
    picture = np.stack([2.9 * x, 255 - 3.1 * y, 1.5 * (x + y)], -1)
    picture[20:40, 30:60] = 255 - picture[20:40, 30:60]
    return np.clip(picture + rng.normal(0, 12, picture.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """`world(2, function, *args)`: function on two ranks of a gloo group, and their results; see world.py."""
    opened = World()
    yield opened
    opened.close()
