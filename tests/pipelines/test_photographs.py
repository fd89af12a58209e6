"""The embedded tiles: seventeen pictures, halves that never meet, the same bytes every time."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from viewmill.pipelines import photographs
from viewmill.pipelines.shard_writer import write_shard
from viewmill.pipelines.source import open_source


def test_tiles_carry_their_pictures_number(tmp_path: Path) -> None:
    train, test = photographs.write_tiles(tmp_path, train_per_picture=4, test_per_picture=2, shards=2)
    source = open_source(train)
    assert len(source) == 17 * 4 and len(open_source(test)) == 17 * 2
    assert sorted(source.label(i) for i in range(len(source))) == sorted(list(range(17)) * 4)
    assert (source.size_hw(np.arange(len(source))) == 64).all()
    assert all(source.key(i).startswith(photographs.PICTURES[source.label(i)]) for i in range(len(source)))


def test_training_tiles_are_left_and_test_tiles_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    picture = np.concatenate([rng.integers(0, 100, (256, 150, 3)), rng.integers(156, 256, (256, 150, 3))], 1).astype(np.uint8)
    monkeypatch.setattr(photographs, "photographs", lambda: [picture])
    train, test = photographs.write_tiles(tmp_path, 30, 30, shards=1)
    for pattern, dark in ((train, True), (test, False)):
        source = open_source(pattern)
        for i in range(30):
            tile = np.asarray(Image.open(io.BytesIO(source.read(i))))  # type: ignore[arg-type]
            assert (tile.max() < 140) if dark else (tile.min() > 115)


def test_shards_that_are_there_stay(tmp_path: Path) -> None:
    photographs.write_tiles(tmp_path, 1, 1, shards=1)
    before = (tmp_path / "train-0000.tar").stat().st_mtime_ns
    photographs.write_tiles(tmp_path, 1, 1, shards=1)
    assert (tmp_path / "train-0000.tar").stat().st_mtime_ns == before


def test_a_killed_writer_leaves_no_shard(tmp_path: Path) -> None:
    def samples():  # type: ignore[no-untyped-def]
        yield "a", {"jpg": b"x"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "s.tar", samples())
    assert list(tmp_path.iterdir()) == []


def test_equal_samples_make_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar"):
        assert write_shard(tmp_path / name, [("k", {"jpg": b"pixels", "cls": b"3"})]) == 1
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert [m.name for m in tar] == ["k.jpg", "k.cls"]
