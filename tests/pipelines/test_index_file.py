"""Indexes as files: beside the tar or in a cache that can be lost at any time; never of another tar, never damaged."""

from __future__ import annotations

import hashlib
import os
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
from viewmill.pipelines import index_file
from viewmill.pipelines.catalogue import seal_shard
from viewmill.pipelines.index import ShardIndex, build_index
from viewmill.pipelines.index_file import ShardFacts, index_bytes, load_index, read_index
from viewmill.pipelines.sealed import seal

from .shards import encoded, picture, shard


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VIEWMILL_CACHE_DIR", str(folder))
    return folder


def equal(a: ShardIndex, b: ShardIndex) -> bool:
    return np.array_equal(a.records, b.records) and bytes(a.names) == bytes(b.names) and a.digest == b.digest


def test_a_file_holds_all_of_an_index(tmp_path: Path) -> None:
    index = build_index(shard(tmp_path / "x.tar", 7), checksums=True)
    again, facts = read_index(index_bytes(index, ShardFacts(12345, "ab" * 32)))
    assert equal(again, index) and again.checksums and facts == ShardFacts(12345, "ab" * 32)
    assert [again.key(row) for row in range(7)] == [f"{i:05d}" for i in range(7)]


def test_checksums_are_crc32_of_the_images_bytes(tmp_path: Path) -> None:
    index = build_index(shard(tmp_path / "x.tar", 3), checksums=True)
    images = [encoded(picture(4 + i % 3, 8, i)) for i in range(3)]
    assert index.records["crc32"].tolist() == [zlib.crc32(image) for image in images]
    assert all(index.is_whole(row, image) for row, image in enumerate(images)) and not index.is_whole(0, images[1])
    without = build_index(tmp_path / "x.tar")
    assert without.digest == index.digest and without.is_whole(0, images[1])  # unknown, so nothing is said against it


def test_one_that_was_made_without_images_can_be_kept(tmp_path: Path) -> None:
    index = build_index(shard(tmp_path / "x.tar", 0))
    assert len(read_index(index_bytes(index, ShardFacts(10240)))[0]) == 0


class TestBeside:
    def test_the_index_beside_a_tar_is_used_and_the_cache_is_not(self, tmp_path: Path, cache: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
        path = shard(tmp_path / "x.tar", 4)
        entry = seal_shard(path)
        monkeypatch.setattr(index_file, "build_index", lambda path: pytest.fail("the tar was read"))
        found = load_index(path)
        assert found.checksums and found.stored and found.digest == entry.digest and not any(cache.rglob("*.index"))
        assert entry.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() and entry.tar_bytes == path.stat().st_size
        assert entry.index_bytes == (tmp_path / "x.tar.index").stat().st_size and entry.samples == 4 and entry.labelled

    @pytest.mark.parametrize("damage", ["flipped", "cut", "of another tar", "of another version"])
    def test_one_that_cannot_be_used_is_passed_over(self, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
        path = shard(tmp_path / "x.tar", 4)
        seal_shard(path)
        beside = tmp_path / "x.tar.index"
        data = bytearray(beside.read_bytes())
        if damage == "flipped":
            data[len(data) // 2] ^= 1
        beside.write_bytes(data[:100] if damage == "cut" else data)
        if damage == "of another tar":
            shard(path, 40)
        if damage == "of another version":
            monkeypatch.setattr(index_file, "_VERSION", 99)
        found = load_index(path)
        assert not found.checksums and len(found) == (40 if damage == "of another tar" else 4)


class TestCache:
    def made(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """The tars that are really read from now on."""
        calls: list[Path] = []
        build = index_file.build_index
        monkeypatch.setattr(index_file, "build_index", lambda path: (calls.append(path), build(path))[1])
        return calls

    def test_the_second_time_nothing_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path, calls = shard(tmp_path / "x.tar", 4), self.made(monkeypatch)
        first, second = load_index(path), load_index(path)
        assert equal(first, second) and first.stored and second.stored and calls == [path]

    def test_a_changed_tar_is_read_anew(self, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path, calls = shard(tmp_path / "x.tar", 4), self.made(monkeypatch)
        load_index(path)
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        load_index(path)
        shard(path, 15)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))  # another size alone is enough
        assert len(load_index(path)) == 15 and len(calls) == 3
        assert len(list(cache.rglob("*.index"))) == 1  # the old one's place is taken

    def test_two_tars_of_one_name_do_not_share(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = self.made(monkeypatch)
        for name, count in (("a", 2), ("b", 3)):
            (tmp_path / name).mkdir()
            assert len(load_index(shard(tmp_path / name / "x.tar", count))) == count
        assert len(load_index(tmp_path / "a" / "x.tar")) == 2 and len(calls) == 2

    @pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "flipped", "pickle", "other arrays",
                                        "other version", "folder"])
    def test_a_damaged_cache_is_made_again(self, tmp_path: Path, cache: Path, damage: str,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
        path = shard(tmp_path / "x.tar", 4)
        expected = load_index(path)
        file = next(cache.rglob("*.index"))
        data = file.read_bytes()
        if damage == "flipped":
            at = data.index(bytes(expected.names))
            data = data[:at] + b"9" + data[at + 1:]
        elif damage == "pickle":
            data = pickle.dumps({"records": 1})
        elif damage == "other arrays":
            data = seal("index", {"version": 2, "digest": "", "checksums": False, "tar_bytes": 1, "sha256": "", "about": ""},
                        {"records": np.zeros(3), "names": np.zeros(3, np.uint8)})
        elif damage == "other version":
            monkeypatch.setattr(index_file, "_VERSION", 99)
        if damage == "folder":
            file.unlink()
            file.mkdir()
        elif damage != "other version":
            file.write_bytes({"empty": b"", "garbage": b"garbage", "cut": data[:len(data) // 2]}.get(damage, data))
        calls = self.made(monkeypatch)
        assert equal(load_index(path), expected) and calls == [path]
        if damage != "folder":
            assert equal(load_index(path), expected) and calls == [path]  # and is whole again

    def test_where_the_cache_cannot_be_written_the_index_is_kept_in_memory(self, tmp_path: Path,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a file").write_text("in the way")
        monkeypatch.setenv("VIEWMILL_CACHE_DIR", str(tmp_path / "a file" / "cache"))
        found = load_index(shard(tmp_path / "x.tar", 4))
        assert len(found) == 4 and not found.stored

    def test_no_temporary_file_is_left(self, tmp_path: Path, cache: Path) -> None:
        load_index(shard(tmp_path / "x.tar", 4))
        assert [p.suffix for p in cache.rglob("*") if p.is_file()] == [".index"]
