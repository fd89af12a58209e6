"""Reading ahead: many reads at once, never more bytes than allowed, and nothing else changes; local files are only announced."""

from __future__ import annotations

import os
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewmill.pipelines.read_ahead import READERS, ReadAhead, read_ahead
from viewmill.pipelines.source import ArraySource, BadSample, FolderSource, TarSource, open_source

from .shards import write_tar
from .streams import data, folder, jpeg, local, pictures
from .test_producer import job, producing


def eventually(true: Callable[[], bool]) -> None:
    """A minute is no measure of anything: it ends a test that would hang."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


class Remote:
    """Samples of given sizes that lie in no file, and what was read of them."""

    def __init__(self, sizes: list[int], act: Callable[[int], None] = lambda index: None) -> None:
        self.sizes, self.act, self.reads, self.out, self.most_out = sizes, act, list[int](), 0, 0
        self.lock = threading.Lock()

    def read(self, index: int) -> bytes:
        with self.lock:
            self.reads.append(index)
            self.out += self.sizes[index]
            self.most_out = max(self.most_out, self.out)
        self.act(index)
        return bytes([index]) * self.sizes[index]

    def take(self, ahead: ReadAhead, expected: Any, index: int) -> bytes:
        found = ahead.read(expected, index)
        with self.lock:
            self.out -= self.sizes[index]
        assert isinstance(found, bytes)
        return found


def test_each_sample_is_read_once_and_given_to_whom_it_belongs() -> None:
    source = Remote([100] * 50)
    ahead = ReadAhead(source, 1000)
    expected = ahead.expect(np.arange(50))
    for index, each in enumerate(expected):
        assert source.take(ahead, each, index) == bytes([index]) * 100
    ahead.close()
    assert sorted(source.reads) == list(range(50)) and ahead.held == 0


def test_many_reads_are_under_way_at_once() -> None:
    """Each but the first, after which the size of samples is known, waits for three others."""
    meeting = threading.Barrier(4)
    source = Remote([10] * 9, lambda index: None if index == 0 else meeting.wait(60) and None)
    ahead = ReadAhead(source, 1000)
    expected = ahead.expect(np.arange(9))
    eventually(lambda: len(source.reads) == 9)
    assert [source.take(ahead, each, index)[:1] for index, each in enumerate(expected)] == [bytes([i]) for i in range(9)]
    ahead.close()


@pytest.mark.parametrize("most", [10, 2500, 8000])
def test_bytes_are_bounded_and_not_samples(most: int) -> None:
    """10: less than one sample, which must be read all the same."""
    source = Remote([1000] * 60)
    ahead = ReadAhead(source, most)
    expected = ahead.expect(np.arange(60))
    for index, each in enumerate(expected):
        eventually(lambda index=index: index in source.reads)  # type: ignore[misc]  # not by us: the bound is for what waits
        source.take(ahead, each, index)
    ahead.close()
    assert source.most_out <= max(most, 1000) + 1000  # the one that has just been handed over is no longer counted


def test_large_samples_among_small_ones_leave_the_bound() -> None:
    sizes = [5000 if i % 10 == 0 else 100 for i in range(100)]
    source = Remote(sizes)
    ahead = ReadAhead(source, 20_000)
    expected = ahead.expect(np.arange(100))
    for index, each in enumerate(expected):
        source.take(ahead, each, index)
    ahead.close()
    assert source.most_out <= 20_000 + 5000  # what is read by whoever needs it at once is beside it


def test_who_needs_a_sample_at_once_does_not_wait_for_its_turn() -> None:
    hold = threading.Event()
    source = Remote([100] * 40, lambda index: None if index >= 30 else hold.wait(60) and None)
    ahead = ReadAhead(source, 10_000)
    expected = ahead.expect(np.arange(40))
    assert ahead.read(expected[35], 35) == bytes([35]) * 100  # all readers are at others
    hold.set()
    for index, each in enumerate(expected):
        if index != 35:
            ahead.read(each, index)
    ahead.close()
    assert sorted(source.reads) == list(range(40)) and ahead.held == 0


def test_a_failed_read_is_raised_where_the_sample_is_needed() -> None:
    def fail(index: int) -> None:
        if index == 3:
            raise BadSample("cannot be read (no such bucket)")

    ahead = ReadAhead(Remote([10] * 6, fail), 1000)
    expected = ahead.expect(np.arange(6))
    for index, each in enumerate(expected):
        if index == 3:
            with pytest.raises(BadSample, match="no such bucket"):
                ahead.read(each, index)
        else:
            assert ahead.read(each, index) == bytes([index]) * 10
    ahead.close()
    assert ahead.held == 0


def test_a_stand_ins_own_sample_is_read_and_the_other_forgotten() -> None:
    source = Remote([10] * 6)
    ahead = ReadAhead(source, 1000)
    expected = ahead.expect(np.array([0, 1, 2]))
    eventually(lambda: len(source.reads) == 3)
    assert [ahead.read(each, 5)[0] for each in expected] == [5, 5, 5]
    eventually(lambda: ahead.held == 0)
    ahead.close()


def test_closing_does_not_wait_for_a_read_that_hangs() -> None:
    hold = threading.Event()
    ahead = ReadAhead(Remote([10] * 6, lambda index: hold.wait(60) and None), 1000)
    ahead.expect(np.arange(6))
    ahead.close()
    hold.set()
    for thread in ahead._threads:
        thread.join(60)
        assert not thread.is_alive()


class Behind:
    """A source as a network's would be: that its samples lie in files is not told."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __getattr__(self, name: str) -> Any:
        if name == "extent":
            raise AttributeError(name)
        return getattr(self.source, name)


@pytest.mark.parametrize("most", [1, 5000, 1 << 26])
@pytest.mark.parametrize("remote", [False, True])
def test_batches_and_bad_samples_are_the_same(most: int, remote: bool, tmp_path: Path) -> None:
    source: Any = open_source(str(folder(tmp_path, 24, broken={2, 11}, headless={5})))
    stream = job(source, batch_size=6)
    with producing(stream) as take_batches:
        expected = take_batches(8)
    with producing(replace(stream, source=Behind(source) if remote else source, read_ahead_bytes=most)) as take_batches:
        found = take_batches(8)
    for (made, views), (other, others) in zip(expected, found, strict=True):
        assert made.index.tolist() == other.index.tolist() and made.key == other.key
        assert [(b.row, b.where, b.reason) for b in made.bad] == [(b.row, b.where, b.reason) for b in other.bad]
        for group in views:
            np.testing.assert_array_equal(views[group], others[group])


def test_a_fault_of_a_source_ends_production_in_its_place() -> None:
    class Faulty(Behind):
        def read(self, index: int) -> Any:
            if index == wanted[5]:
                raise RuntimeError("the network is gone")
            return self.source.read(index)

    stream = job(data(12))
    wanted = stream.order.index(0, np.arange(12)).tolist()
    with producing(replace(stream, source=Faulty(stream.source), read_ahead_bytes=1 << 20)) as take_batches:
        assert len(take_batches(1)) == 1
        with pytest.raises(RuntimeError, match="the network is gone"):
            take_batches(1)


@pytest.mark.parametrize("kind", ["tar", "folder"])
def test_local_files_are_announced_and_not_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "posix_fadvise"):
        pytest.skip("this system cannot be told")
    asked: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, offset, size, advice: asked.append(
        (os.readlink(f"/proc/self/fd/{fd}"), offset, size)))
    files = {f"{i:03}.jpg": jpeg(picture) for i, picture in enumerate(pictures(5))}
    if kind == "tar":
        path = write_tar(tmp_path / "a.tar", list(files.items()))
        source: Any = TarSource([path])
        with tarfile.open(path) as tar:
            places = [(str(path), member.offset_data, member.size) for member in tar]
    else:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        source = FolderSource(tmp_path)
        places = [(str(tmp_path / name), 0, len(content)) for name, content in files.items()]
    ahead = ReadAhead(source, 1 << 20)
    expected = ahead.expect(np.array([3, 0, 4]))
    eventually(lambda: len(asked) == 3)
    assert sorted(asked) == sorted([places[3], places[0], places[4]])
    eventually(lambda: ahead.held == sum(places[i][2] for i in (3, 0, 4)))
    assert ahead.read(expected[0], 3) == files["003.jpg"]
    assert ahead.held == places[0][2] + places[4][2]
    ahead.close()
    assert len(ahead._threads) < READERS


def test_a_file_that_is_gone_is_told_by_reading_it(tmp_path: Path) -> None:
    source = FolderSource(folder(tmp_path, 3))
    (source.folder / "001.jpg").unlink()
    ahead = ReadAhead(source, 1 << 20)
    expected = ahead.expect(np.arange(3))
    assert isinstance(ahead.read(expected[0], 0), bytes)
    with pytest.raises(BadSample, match="cannot be read"):
        ahead.read(expected[1], 1)
    assert isinstance(ahead.read(expected[2], 2), bytes)
    ahead.close()


def test_what_lies_in_memory_is_not_read_ahead() -> None:
    assert read_ahead(ArraySource(*data(4)), 1 << 20) is None and read_ahead(Remote([1]), 0) is None


@pytest.mark.parametrize(("size", "ahead"), [(16_383, False), (16_384, True)])
def test_small_samples_in_local_files_are_not_announced(size: int, ahead: bool, tmp_path: Path) -> None:
    source = TarSource([write_tar(tmp_path / "a.tar", [(f"{i}.jpg", bytes(size)) for i in range(3)])])
    found = read_ahead(source, 1 << 20)
    assert (found is not None) == ahead
    if found is not None:
        found.close()


@pytest.mark.parametrize("value", [-1, 1.5, "64M"])
def test_a_number_of_bytes_is_checked(value: Any) -> None:
    with pytest.raises(ValueError, match=r"read_ahead_bytes needs a whole number >= 0, got"):
        local(8, 4, read_ahead_bytes=value)
