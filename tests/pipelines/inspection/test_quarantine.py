"""Quarantine logs: which of their samples are still bad, and a log of what a check has found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.index import build_index
from viewmill.pipelines.pack import Settings as PackSettings
from viewmill.pipelines.pack import pack
from viewmill.pipelines.quarantine import Quarantined, QuarantineLog, read_quarantine

from ..shards import encoded, picture, write_tar
from .checked import checked, flip, kinds

GOOD, CUT = encoded(picture(8, 8)), encoded(picture(16, 16))[:-100]


@pytest.fixture
def shards(tmp_path: Path) -> tuple[Path, Path]:
    """a.tar has a bad 1 and a good 2; b.tar a good 3 and a bad 4."""
    return (write_tar(tmp_path / "a.tar", [("1.jpg", CUT), ("2.jpg", GOOD)]),
            write_tar(tmp_path / "b.tar", [("3.jpg", GOOD), ("4.jpg", CUT)]))


def logged(path: Path, *entries: tuple[Path | str, str, int, int]) -> Path:
    log = QuarantineLog(path)
    for shard, key, offset, size in entries:
        log.add(Quarantined("2026-01-31T12:00:00Z", str(shard), key, f"{shard}: {key}", offset, size, "JPEG cut short"))
    return path


def test_which_are_still_bad(shards: tuple[Path, Path], tmp_path: Path) -> None:
    """1 by its shard and place, 2 by its key (its shard was packed anew), 3 and 4 of a shard that is not among these, 9 of no
    sample. Nothing else is decoded."""
    a, b = shards
    log = logged(tmp_path / "log.jsonl", (a, "1", 512, len(CUT)), ("/elsewhere/a.tar", "2", 99, 7), ("old.tar", "3", 0, 0),
                 ("old.tar", "4", 1536, 10), (a, "9", 0, 0), (a, "4", 0, 0))
    report = checked(a, b, decode=0, quarantine=str(log))
    assert [(entry.key, entry.shard, reason) for entry, reason in report.still_bad()] == [
        ("1", str(a), "JPEG cut short"), ("4", "old.tar", "JPEG cut short")]
    about = report.as_dict()["quarantine"]
    assert (about["entries"], about["whole"], about["not_there"]) == (6, 2, 2)
    assert [(each["key"], each["now"]) for each in about["still_bad"]] == [("1", "JPEG cut short"), ("4", "JPEG cut short")]
    assert "of 6 samples 2 are still bad, 2 whole, 2 not there" in str(report)
    assert kinds(report) == {"image": 2} and not report.whole()


def test_of_samples_with_one_key_the_place_decides(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("1.jpg", GOOD), ("1.jpg", CUT)])
    good, bad = (build_index(path).place(row) for row in (0, 1))
    log = logged(tmp_path / "log.jsonl", (path, "1", *good), (path, "1", *bad))
    report = checked(path, decode=0, quarantine=str(log))
    assert [entry.offset for entry, _ in report.still_bad()] == [bad[0]] and report.found.named[0] == ""


def test_where_a_key_alone_means_several_a_bad_one_counts(tmp_path: Path) -> None:
    both = write_tar(tmp_path / "a.tar", [("1.jpg", CUT), ("1.jpg", GOOD), ("2.jpg", CUT)])
    other = write_tar(tmp_path / "b.tar", [("2.jpg", GOOD)])
    log = logged(tmp_path / "log.jsonl", ("old.tar", "1", 0, 0), ("old.tar", "2", 0, 0))
    report = checked(both, other, decode=0, quarantine=str(log))
    assert [entry.key for entry, _ in report.still_bad()] == ["1", "2"]


def test_a_folders_images(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, data in (("a.jpg", GOOD), ("b.jpg", CUT)):
        (photos / name).write_bytes(data)
    log = logged(tmp_path / "log.jsonl", (photos / "a.jpg", "a.jpg", 0, 9), (photos / "b.jpg", "b.jpg", 0, 9))
    report = checked(photos, decode=0, quarantine=str(log))
    assert [entry.key for entry, _ in report.still_bad()] == ["b.jpg"] and report.found.named[0] == ""


def test_a_check_writes_what_a_check_and_a_pack_read(shards: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = shards
    out = tmp_path / "bad.jsonl"
    assert not checked(a, b, decode=-1, write=str(out)).whole()
    first, second = read_quarantine(out)
    assert replace(first, time="") == Quarantined("", str(a), "1", "a.tar: 1.jpg", *build_index(a).place(0), "JPEG cut short")
    assert (second.shard, second.key) == (str(b), "4")
    assert [entry.key for entry, _ in checked(a, b, decode=0, quarantine=str(out)).still_bad()] == ["1", "4"]
    summary = pack([str(a), str(b)], str(tmp_path / "new"), PackSettings(skip=str(out), workers=1))
    assert (summary.skipped, summary.samples) == (2, 2)
    report = checked(tmp_path / "new", decode=-1, quarantine=str(out), write=str(out))
    assert report.whole() and report.found.images == 2 and out.read_bytes() == b""  # anew, and now there is none


def test_nothing_else_is_written_over(shards: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt: line 1 is not that of a quarantine log"):
        checked(*shards, write=str(tmp_path / "notes.txt"))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_damage_by_checksum_is_written_too(packed: Path, tmp_path: Path) -> None:
    place = build_index(packed / "s-2.tar").place(1)
    flip(packed / "s-2.tar", place[0] + 9)
    checked(packed, decode=0, write=str(tmp_path / "bad.jsonl"))
    (entry,) = read_quarantine(tmp_path / "bad.jsonl")
    assert (entry.key, entry.offset, entry.size) == ("00011", *place) and "checksum" in entry.reason
