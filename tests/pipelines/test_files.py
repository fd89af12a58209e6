"""Files shared by threads: bounded in number, and never closed under a reader."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from viewmill.pipelines.files import Files


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    for i in range(12):
        (tmp_path / str(i)).write_bytes(bytes([i]) * 1000)
    return [tmp_path / str(i) for i in range(12)]


def test_reads_at_offsets_and_only_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    files = Files()
    assert [files.read(tmp_path / "x", *part) for part in ((2, 3), (0, 10), (8, 9), (50, 2))] == [b"234",
                                                                                                  b"0123456789", b"89", b""]


def test_no_more_than_so_many_stay_open_and_none_after_the_end(paths: list[Path]) -> None:
    before = descriptors()
    files = Files(most=4)
    for path in paths * 3:
        assert files.read(path, 0, 1) == bytes([int(path.name)])
        assert len(files) <= 4 and descriptors() <= before + 4
    del files
    assert descriptors() == before


def test_the_latest_used_stay_open(paths: list[Path]) -> None:
    files = Files(most=2)
    for i in (0, 1, 0, 2):  # 1 makes way, 0 stays
        files.read(paths[i], 0, 1)
    paths[0].unlink()
    paths[1].unlink()
    assert files.read(paths[0], 0, 1) == b"\0"
    with pytest.raises(FileNotFoundError):
        files.read(paths[1], 0, 1)


def test_many_threads_and_few_files(paths: list[Path]) -> None:
    files = Files(most=2)

    def read(i: int) -> bool:
        number = i * 7 % 12
        return files.read(paths[number], i % 900, 50) == bytes([number]) * 50

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(3000)))


def test_pickles_without_its_open_files(paths: list[Path]) -> None:
    files = Files(most=3)
    files.read(paths[0], 0, 1)
    copy = pickle.loads(pickle.dumps(files))
    assert copy.most == 3 and len(copy) == 0 and copy.read(paths[5], 0, 2) == b"\5\5"
