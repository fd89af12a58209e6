"""Tar shards as one source of samples: numbers, bytes, keys, and what happens when shards change or fail."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from viewmill.pipelines import survey
from viewmill.pipelines.faults import BadSample, DataError
from viewmill.pipelines.sources import table, tar
from viewmill.pipelines.sources.keys import NoSuchKey
from viewmill.pipelines.sources.tar import TarSource

from ..shards import encoded, picture, shard, write_tar


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VIEWMILL_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """5, 0 and 3 images; keys 00000..00004 and 00005..00007."""
    return [shard(tmp_path / "a.tar", 5), write_tar(tmp_path / "b.tar", [("readme.txt", b"no image")]),
            shard(tmp_path / "c.tar", 3, first=5)]


def test_samples_count_through_the_shards(paths: list[Path]) -> None:
    source = TarSource(paths)
    assert source.shard_sizes.tolist() == [5, 0, 3] and len(source) == 8 and source.local and source.labelled
    assert [source.read(i) for i in range(8)] == [encoded(picture(4 + i % 3, 8, i)) for i in range(8)]
    assert [source.key(i) for i in range(8)] == [f"{i:05d}" for i in range(8)]
    assert [source.label(i) for i in range(8)] == [0, 1, 2, 3, 4, 0, 1, 2]
    assert source.where(0) == "a.tar: 00000.jpg" and source.where(7) == "c.tar: 00007.jpg"


def test_sizes_in_any_order(paths: list[Path]) -> None:
    sizes = TarSource(paths).size_hw(np.array([7, 0, 4, 5, 0]))
    assert sizes.dtype == np.int32 and sizes.tolist() == [[5, 8], [4, 8], [5, 8], [6, 8], [4, 8]]
    assert TarSource(paths).size_hw(np.array([], np.int64)).shape == (0, 2)


def test_appended_shards_change_no_number(paths: list[Path]) -> None:
    few, more = TarSource(paths[:1]), TarSource(paths)
    assert all(few.read(i) == more.read(i) for i in range(5))


def test_numbers_outside_are_refused(paths: list[Path]) -> None:
    source = TarSource(paths)
    for call in (source.read, source.key, source.label, source.where, lambda i: source.size_hw(np.array([0, i]))):
        for index in (-1, 8):
            with pytest.raises(IndexError, match=r"samples are 0\.\.7, got"):
                call(index)


def test_labelled_if_any_sample_is(tmp_path: Path) -> None:
    assert not TarSource([shard(tmp_path / "x.tar", 3, labelled=False)]).labelled
    assert TarSource([tmp_path / "x.tar", shard(tmp_path / "y.tar", 3, first=3)]).labelled


class TestFingerprint:
    def test_does_not_change_with_where_the_data_lie_or_how_often_they_are_opened(self, paths: list[Path],
                                                                                  tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        moved = [tmp_path / "elsewhere" / f"renamed-{path.name}" for path in paths]
        expected = TarSource(paths).fingerprint
        for old, new in zip(paths, moved, strict=True):
            new.write_bytes(old.read_bytes())
        assert TarSource(moved).fingerprint == TarSource(paths).fingerprint == expected

    def test_changes_with_the_data(self, paths: list[Path], tmp_path: Path) -> None:
        prints = [TarSource(chosen).fingerprint for chosen in (paths, paths[::-1], paths[:1],
                                                               [paths[0], shard(tmp_path / "d.tar", 4, first=5)])]
        assert len(set(prints)) == 4


class TestPickling:
    def test_is_small_and_gives_the_same(self, tmp_path: Path) -> None:
        source = TarSource([shard(tmp_path / "x.tar", 500)])
        source.read(3)
        data = pickle.dumps(source)
        copy = pickle.loads(data)
        assert len(data) < 1000
        assert [copy.read(i) for i in range(9)] == [source.read(i) for i in range(9)] and copy.where(499) == source.where(499)
        assert copy.fingerprint == source.fingerprint and copy.shard_sizes.tolist() == [500]

    def test_an_index_that_could_not_be_cached_goes_along(self, paths: list[Path], tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("VIEWMILL_CACHE_DIR", str(tmp_path / "file"))
        data = pickle.dumps(TarSource(paths))
        monkeypatch.setattr(tar, "load_index", lambda *_: pytest.fail("an index was read again"))
        assert pickle.loads(data).key(6) == "00006"


def test_an_index_dropped_for_memory_is_read_again(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "KEPT_SAMPLES", 5)
    source = TarSource(paths)
    for _ in range(2):
        assert [source.key(i) for i in (0, 7, 1, 6)] == ["00000", "00007", "00001", "00006"]
        assert sum(map(len, source._table._held.values())) <= 5


def test_many_threads_read_what_one_does(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "KEPT_SAMPLES", 1)
    source = TarSource(paths)
    expected = [(source.read(i), source.key(i)) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda i: (source.read(i % 8), source.key(i % 8)) == expected[i % 8], range(400)))


class TestFind:
    def test_by_key_and_by_what_where_says(self, paths: list[Path]) -> None:
        source = TarSource(paths)
        assert source.find("00006") == 6
        assert all(source.find(source.where(i)) == i for i in range(8))

    def test_no_such_key_names_near_ones(self, paths: list[Path]) -> None:
        with pytest.raises(NoSuchKey, match=r"^no sample has the key '0000x'; near it: 00000, 00001, 00002$"):
            TarSource(paths).find("0000x")

    def test_a_key_used_twice_names_the_places(self, tmp_path: Path) -> None:
        (tmp_path / "z").mkdir()
        source = TarSource([shard(tmp_path / "a.tar", 3), shard(tmp_path / "b.tar", 3), shard(tmp_path / "z" / "a.tar", 3)])
        with pytest.raises(NoSuchKey,
                           match=r"^3 samples have the key '00001': write which, as in one of: .*b\.tar: 00001\.jpg; "):
            source.find("00001")
        assert [source.find(source.where(i)) for i in range(9)] == list(range(9))


class TestFaults:
    def test_no_image_in_any_shard(self, paths: list[Path], tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"^.*b\.tar: no images, found \.txt: images are members named KEY\.jpg"):
            TarSource(paths[1:2])
        with pytest.raises(DataError, match=r"e\.tar and 1 more shards: no images, found no file at all"):
            TarSource([write_tar(tmp_path / "e.tar", []), paths[1]])

    def test_a_shard_cut_short(self, paths: list[Path]) -> None:
        paths[0].write_bytes(paths[0].read_bytes()[:3000])
        with pytest.raises(DataError, match=r"a\.tar: the tar is cut short: .*offset \d+, .*again"):
            TarSource(paths)

    def test_a_shard_that_shrinks_or_goes_gives_bad_samples(self, paths: list[Path]) -> None:
        source = TarSource(paths)
        assert source.key(0) == "00000" and source.key(7) == "00007"  # so both indexes are held
        paths[2].write_bytes(paths[2].read_bytes()[:600])
        with pytest.raises(BadSample, match=r"^its shard has become shorter$"):
            source.read(7)
        paths[0].unlink()
        with pytest.raises(BadSample, match=r"^cannot be read \(No such file or directory\)$"):
            source.read(0)

    def test_a_shard_replaced_while_in_use_is_noticed_when_its_index_is_read_again(self, paths: list[Path]) -> None:
        data = pickle.dumps(TarSource(paths))
        shard(paths[0], 6)
        with pytest.raises(DataError, match=r"a\.tar: has changed since it was opened: open the data again"):
            pickle.loads(data).read(0)

    def test_progress_is_said_only_when_it_takes_long(self, paths: list[Path], capsys: pytest.CaptureFixture,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
        TarSource(paths)
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(survey, "QUIET_SECONDS", -1.0)
        TarSource(paths[::-1])
        assert capsys.readouterr().err.endswith("indexing shards (once): 3 of 3\n")
