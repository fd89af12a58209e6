"""Pages of files: what is in memory is said to be, and what cannot be asked is not claimed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from viewmill.pipelines import page_cache


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    with open(path, "wb") as out:
        out.write(os.urandom(300_000))
        out.flush()
        os.fsync(out.fileno())
    path.read_bytes()
    return path


def test_what_was_just_read_is_resident_and_less_of_it_once_dropped(file: Path) -> None:
    parts = [(file, 5000, 100_000), (file, 200_000, 100_000)]
    there = page_cache.resident(parts)
    if there is None:
        pytest.skip("mincore cannot be asked here")
    assert there == 1.0
    if not page_cache.drop(parts):
        pytest.skip("pages cannot be dropped here")
    left = page_cache.resident(parts)
    assert left is not None and left <= 1.0
    if file.stat().st_uid == os.getuid() and left < 1.0:  # the file system obeyed
        file.read_bytes()
        assert page_cache.resident(parts) == 1.0


def test_where_the_platform_cannot_drop_it_says_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    assert not page_cache.drop([(file, 0, 10)])


def test_a_file_that_is_gone_is_no_claim(tmp_path: Path) -> None:
    gone = [(tmp_path / "gone", 0, 10)]
    assert not page_cache.drop(gone) and page_cache.resident(gone) is None and page_cache.resident([]) is None


def test_parts_are_asked_for_by_whole_pages() -> None:
    page = page_cache.mmap.PAGESIZE
    assert page_cache._pages(0, 1) == (0, page)
    assert page_cache._pages(page - 1, 2) == (0, 2 * page)
    assert page_cache._pages(3 * page, page) == (3 * page, page)
