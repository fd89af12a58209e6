"""Images of packed shards are what was packed, or are replaced: whatever happened to the shard since."""

from __future__ import annotations

from pathlib import Path

import pytest
from viewmill import Loader
from viewmill.pipelines.catalogue import seal_shard, write_catalogue
from viewmill.pipelines.faults import BadSample
from viewmill.pipelines.source import open_source
from viewmill.pipelines.sources.tar import TarSource

from .shards import shard
from .streams import SMALL


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Shards of 4 and 3 images with their indexes and the catalogue."""
    write_catalogue(tmp_path, [seal_shard(shard(tmp_path / "s-0.tar", 4)), seal_shard(shard(tmp_path / "s-1.tar", 3, first=4))])
    return tmp_path


def change(folder: Path) -> None:
    """One bit of one image, whose length stays."""
    file = folder / "s-0.tar"
    data = bytearray(file.read_bytes())
    at = TarSource([file]).extent(2)[1] + 300
    data[at] ^= 1
    file.write_bytes(data)


def test_changed_bytes_are_a_bad_sample(packed: Path) -> None:
    change(packed)
    source = open_source(packed)
    with pytest.raises(BadSample, match=r"^its bytes are not those that were packed \(checksum\)$"):
        source.read(2)
    assert isinstance(source.read(1), bytes) and isinstance(open_source(packed, verify=False).read(2), bytes)


def test_a_loader_replaces_them(packed: Path) -> None:
    change(packed)
    with Loader(str(packed), SMALL, 7, shuffle="none", sidecar=False, max_bad=1.0) as loader:
        (batch,) = loader
    assert batch.substitute.tolist() == [False, False, True, False, False, False, False]
    with Loader(str(packed), SMALL, 7, shuffle="none", sidecar=False, verify=False) as loader:
        (batch,) = loader
    assert not batch.substitute.any()
