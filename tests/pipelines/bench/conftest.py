"""Files of one colour each, whose views can be told by hand, and a noisy set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from viewmill.pipelines.bench.files import Files, Folder

from ..shards import encoded, picture


@pytest.fixture
def grays() -> Iterator[Files]:
    """Eight JPEGs of 40 x 56 px, levels 64 and 128 in turn; a flat JPEG decodes to its very level."""
    with Folder() as folder:
        yield folder.write([encoded(np.full((40, 56, 3), level, np.uint8), quality=95) for level in [64, 128] * 4], threads=1)


@pytest.fixture
def noise() -> Iterator[Files]:
    with Folder() as folder:
        yield folder.write([encoded(picture(40, 56, seed)) for seed in range(8)], threads=1)
