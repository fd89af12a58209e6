"""The quarantine log: a line for each bad sample with all that is known of it, shared by processes, readable after any end."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from viewmill import Loader
from viewmill.pipelines import quarantine
from viewmill.pipelines.catalogue import seal_shard, write_catalogue
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.quarantine import Quarantined, QuarantineLog, now, read_quarantine

from .shards import encoded, picture, write_tar
from .streams import SMALL, folder

ONE = Quarantined("2026-01-31T12:00:00Z", "/data/a.tar", "00017", "a.tar: 00017.jpg", 1536, 700, "JPEG cut short", 3, 12, 17)


def test_a_line_is_an_object_with_ten_fields(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    log = QuarantineLog(path)
    assert not path.exists()
    log.add(ONE)
    assert path.read_text() == (
        '{"time": "2026-01-31T12:00:00Z", "shard": "/data/a.tar", "key": "00017", "where": "a.tar: 00017.jpg", "offset": 1536, '
        '"size": 700, "reason": "JPEG cut short", "epoch": 3, "position": 12, "index": 17}\n')
    assert read_quarantine(path) == [ONE]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", now())


def test_each_sample_is_written_once_and_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = tmp_path / "q.jsonl", replace(ONE, key="00018", offset=3072)
    log = QuarantineLog(path)
    for sample in (ONE, other, replace(ONE, epoch=4)):
        log.add(sample)
    assert len(path.read_text().splitlines()) == 2
    later = replace(ONE, reason="empty, 0 bytes")
    QuarantineLog(path).add(later)  # another process
    assert len(path.read_text().splitlines()) == 3 and read_quarantine(path) == [other, later]
    monkeypatch.setattr(quarantine, "REMEMBERED", 1)
    log = QuarantineLog(path)
    for sample in (ONE, other, other):
        log.add(sample)
    assert len(path.read_text().splitlines()) == 6 and read_quarantine(path) == [ONE, other]


def test_names_of_any_kind_come_back(tmp_path: Path) -> None:
    strange = replace(ONE, key='a"b\nc\\ü日', where="\udcff", shard="s3://bucket/a.tar")
    QuarantineLog(tmp_path / "q.jsonl").add(strange)
    assert (tmp_path / "q.jsonl").read_bytes().isascii() and read_quarantine(tmp_path / "q.jsonl") == [strange]


@pytest.mark.parametrize("keep", [1, 9, 40, 150])
def test_half_a_line_is_passed_over_and_the_next_begins_anew(tmp_path: Path, keep: int) -> None:
    path, other = tmp_path / "q.jsonl", replace(ONE, key="b", offset=0)
    QuarantineLog(path).add(ONE)
    line = path.read_text()
    path.write_text(line + line[:keep])
    assert read_quarantine(path) == [ONE]
    QuarantineLog(path).add(other)
    assert read_quarantine(path) == [ONE, other]


@pytest.mark.parametrize("content", [b"PK\x03\x04\x00", b'{"step": 3, "loss": 1.5}\n', b"[1]\n", b"hello\n", b'{"time": 3}\n',
                                     json.dumps({**vars(ONE), "offset": "1536"}).encode()])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=r"x: line 1 is not that of a quarantine log, got '.*': give the quarantine\.jsonl"):
        read_quarantine(tmp_path / "x")


def test_a_missing_file_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read \(No such file or directory\)"):
        read_quarantine(tmp_path / "none.jsonl")
    (tmp_path / "empty").touch()
    assert read_quarantine(tmp_path / "empty") == []


def test_more_fields_of_a_later_version_are_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(json.dumps({**vars(ONE), "rank": 3}) + "\n")
    assert read_quarantine(tmp_path / "x") == [ONE]


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "q.jsonl", tmp_path):
        with pytest.raises(ValueError, match="quarantine needs a file in a folder that can be written"):
            QuarantineLog(path)


def test_a_full_disk_stops_nothing_and_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    log = QuarantineLog(tmp_path / "q.jsonl")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "viewmill"):
        patch.setattr(os, "write", full)
        log.add(ONE)
        log.add(replace(ONE, key="b"))
    assert [r.getMessage() for r in caplog.records] == [
        f"{tmp_path / 'q.jsonl'}: cannot be written (No space left on device): bad samples are only counted from here on"]
    log.add(ONE)
    with monkeypatch.context() as patch:
        write = os.write
        patch.setattr(os, "write", lambda handle, line: write(handle, line[:50]))  # as a disk does with its last 50 bytes
        log.add(replace(ONE, key="b"))
    log.add(replace(ONE, key="b"))
    assert read_quarantine(tmp_path / "q.jsonl") == [ONE, replace(ONE, key="b")]


WRITER = """
import sys
from viewmill.pipelines.quarantine import Quarantined, QuarantineLog
log = QuarantineLog(sys.argv[1])
for i in range(400):
    log.add(Quarantined("t", "", f"{sys.argv[2]}-{i}", "w" * 3000, 0, 0, "r"))
"""


def test_processes_share_a_file_without_mixing_lines(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(number)]) for number in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert {sample.key for sample in read_quarantine(path)} == {f"{n}-{i}" for n in range(3) for i in range(400)}
    assert len([line for line in path.read_text().splitlines() if line]) == 1200


class TestOfALoader:
    def open(self, data: Any, path: Path, **options: Any) -> Loader:
        return Loader(data, SMALL, 4, **{"threads": 2, "sidecar": False, "max_bad": 1.0, "quarantine": path, **options})

    @pytest.mark.parametrize("sidecar", [False, True])
    def test_bad_members_of_a_tar_are_named_with_their_place(self, tmp_path: Path, sidecar: bool) -> None:
        whole = [encoded(picture(20, 24, i), quality=95) for i in range(8)]
        files = [(f"{i:05d}.jpg", {3: whole[3][:-99], 5: b"", 6: b"hello"}.get(i, data)) for i, data in enumerate(whole)]
        shard, path = write_tar(tmp_path / "a.tar", files), tmp_path / "q.jsonl"
        write_catalogue(tmp_path, [seal_shard(shard)])  # so that nothing goes to the user's cache
        with self.open(str(tmp_path), path, epochs=2, sidecar=sidecar) as loader:
            list(loader)
        found = {sample.key: sample for sample in read_quarantine(path)}
        assert set(found) == {"00003", "00005", "00006"} and len(path.read_text().splitlines()) == 3  # in two epochs
        for key, sample in found.items():
            number = int(key)
            assert (sample.shard, sample.where) == (str(shard), f"a.tar: {key}.jpg")
            assert shard.read_bytes()[sample.offset:sample.offset + sample.size] == files[number][1]
            assert (sample.index, sample.epoch) == (number, 0) and sample.reason
            assert int(loader._order.index(0, [sample.position])[0]) == number
        assert found["00003"].reason == "JPEG cut short"
        assert sum(loader.stats()["substituted"].values()) == 6

    def test_an_image_of_a_folder(self, tmp_path: Path) -> None:
        root = folder(tmp_path, 8, broken=[2])
        with self.open(str(root), tmp_path / "f.jsonl") as loader:
            list(loader)
        (sample,) = read_quarantine(tmp_path / "f.jsonl")
        assert (sample.shard, sample.key, sample.offset) == (str(root / "002.jpg"), "002.jpg", 0)
        assert sample.size == (root / "002.jpg").stat().st_size

    def test_nothing_bad_leaves_no_file(self, tmp_path: Path) -> None:
        with self.open(str(folder(tmp_path, 8)), tmp_path / "q.jsonl") as loader:
            list(loader)
        assert not (tmp_path / "q.jsonl").exists()
