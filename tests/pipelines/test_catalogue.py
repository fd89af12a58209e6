"""The catalogue of a folder, and what is known of local shards before one is opened."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from viewmill.pipelines import survey as surveying
from viewmill.pipelines.catalogue import (
    CATALOGUE,
    Catalogue,
    ShardEntry,
    entry_of,
    fingerprint,
    read_catalogue,
    seal_shard,
    write_catalogue,
)
from viewmill.pipelines.faults import BadSample, DataError
from viewmill.pipelines.source import open_source
from viewmill.pipelines.sources.tar import TarSource
from viewmill.pipelines.survey import survey

from .shards import shard

A = ShardEntry("a.tar", 5, 10240, 900, True, "01" * 16, "ab" * 32)
B = ShardEntry("ü/b.tar", 0, 1024, 0, False, "23" * 16, mtime_ns=7)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VIEWMILL_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Shards of 4 and 3 images with their indexes and the catalogue."""
    folder = tmp_path / "packed"
    folder.mkdir()
    entries = [seal_shard(shard(folder / "s-0.tar", 4)), seal_shard(shard(folder / "s-1.tar", 3, first=4))]
    write_catalogue(folder, entries)
    return folder


def test_entries_come_back() -> None:
    found = Catalogue.from_bytes(Catalogue.of([A, B]).to_bytes())
    assert [found.entry(0), found.entry(1)] == [A, B] and list(found.names) == ["a.tar", "ü/b.tar"]
    assert found.shard_sizes.tolist() == [5, 0] and found.tar_bytes.tolist() == [10240, 1024] and found.labelled
    assert found.fingerprint == fingerprint(["01" * 16, "23" * 16])


def test_shards_are_chosen_by_name_in_the_order_asked_for() -> None:
    found = Catalogue.of([A, B]).select(["ü/b.tar", "a.tar"])
    assert [found.entry(0), found.entry(1)] == [B, A] and not Catalogue.of([A, B]).select(["ü/b.tar"]).labelled
    with pytest.raises(DataError, match=r"^c\.tar: not in the catalogue, which has 2 shards, from a\.tar to ü/b\.tar \(1 of"):
        Catalogue.of([A, B]).select(["a.tar", "c.tar"])


def test_a_hundred_thousand_shards_take_little(tmp_path: Path) -> None:
    many = Catalogue.of(ShardEntry(f"train-{i:06d}.tar", 10_000, 1 << 30, 600_000, True, f"{i:032x}") for i in range(100_000))
    data = many.to_bytes()
    assert len(data) < 11_000_000
    found = Catalogue.from_bytes(data)
    assert found.shard_sizes.sum() == 10**9 and found.names[99_999] == "train-099999.tar" and found.digest(5) == f"{5:032x}"


@pytest.mark.parametrize("name", ["/etc/x.tar", "../x.tar", "a/../../x.tar", "http://elsewhere/x.tar"])
def test_a_catalogue_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    (tmp_path / CATALOGUE).write_bytes(Catalogue.of([ShardEntry(name, 1, 1, 1, False, "00" * 16)]).to_bytes())
    with pytest.raises(DataError, match="does not lie below its folder"):
        read_catalogue(tmp_path)


def test_a_damaged_catalogue_is_said(packed: Path) -> None:
    file = packed / CATALOGUE
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"shards\.catalogue: cannot be used \(cut short.*\): write it again with viewmill pack"):
        open_source(packed)


def test_the_entry_of_a_shard_is_in_its_index(packed: Path) -> None:
    found = read_catalogue(packed)
    assert found is not None and entry_of(packed / "s-1.tar") == found.entry(1) and found.entry(1).samples == 3
    shard(packed / "s-1.tar", 30)
    assert entry_of(packed / "s-1.tar") is None


def test_a_packed_folder_is_a_data_set(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveying, "load_index", lambda path: pytest.fail("a shard was opened"))
    source = open_source(packed)
    assert isinstance(source, TarSource) and len(source) == 7 and source.labelled
    assert source.fingerprint == open_source(str(packed / "s-{0..1}.tar")).fingerprint
    assert [source.key(i) for i in range(7)] == [f"{i:05d}" for i in range(7)]


def test_a_part_of_a_packed_folder_is_known_too(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveying, "load_index", lambda path: pytest.fail("a shard was opened"))
    assert survey([str(packed / "s-1.tar")])[0].shard_sizes.tolist() == [3]


def test_a_shard_of_another_length_is_read_anew(packed: Path) -> None:
    shard(packed / "s-1.tar", 9, first=4)
    assert open_source(packed).shard_sizes.tolist() == [4, 9]


def test_unpacked_shards_are_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [shard(tmp_path / f"{i}.tar", i + 1) for i in range(3)]
    opened, load = [], surveying.load_index
    monkeypatch.setattr(surveying, "load_index", lambda path: (opened.append(path), load(path))[1])
    prints = [TarSource(paths).fingerprint for _ in range(2)]
    assert len(opened) == 3 and len(set(prints)) == 1
    os.utime(paths[1], ns=(1, 1))
    assert TarSource(paths).shard_sizes.tolist() == [1, 2, 3] and len(opened) == 6


def test_a_packed_shard_that_shrinks_or_goes_gives_bad_samples(packed: Path) -> None:
    source = open_source(packed)
    (packed / "s-1.tar").write_bytes((packed / "s-1.tar").read_bytes()[:600])
    with pytest.raises(BadSample, match="shorter"):
        source.read(6)
    (packed / "s-0.tar").unlink()
    with pytest.raises(BadSample, match="No such file"):
        source.read(0)


def test_a_source_of_packed_shards_pickles(packed: Path) -> None:
    source = open_source(packed)
    copy = pickle.loads(pickle.dumps(source))
    assert [copy.read(i) for i in range(7)] == [source.read(i) for i in range(7)]
    assert np.array_equal(copy.size_hw(np.arange(7)), source.size_hw(np.arange(7)))
