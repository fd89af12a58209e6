from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIEWMILL_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """shards/s-0.tar to s-2.tar of 5 samples each, keys 00000 to 00014, with indexes and a catalogue."""
    from viewmill.pipelines.catalogue import seal_shard, write_catalogue

    from ..shards import shard

    folder = tmp_path / "shards"
    folder.mkdir()
    write_catalogue(folder, [seal_shard(shard(folder / f"s-{i}.tar", 5, 5 * i)) for i in range(3)])
    return folder
