"""Shards behind URLs are checked as those on a disk are, and what cannot be fetched is damage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from viewmill.cli import main
from viewmill.pipelines.catalogue import CATALOGUE
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.index import build_index
from viewmill.pipelines.inspection import fetched
from viewmill.pipelines.inspection.fetched import Fetched
from viewmill.pipelines.inspection.settings import Settings
from viewmill.pipelines.inspection.shard import Shard
from viewmill.pipelines.inspection.work import examine
from viewmill.pipelines.remote.options import Remote
from viewmill.pipelines.remote.patience import Patience
from viewmill.pipelines.remote.store import Store

from ..remote.server import Fault, Server, serving
from .checked import checked, kinds, said

QUICK = Patience(attempts=3, first_s=0.01, timeout_s=5)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where shards lie while they are read."""
    monkeypatch.setattr(Remote, "patience", QUICK)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture
def url(packed: Path, server: Server) -> str:
    """The address of what packed has."""
    for path in packed.iterdir():
        server.objects[f"data/{path.name}"] = path.read_bytes()
    return f"{server.url}/data"


def flipped(server: Server, name: str, at: int) -> None:
    data = bytearray(server.objects[name])
    data[at] ^= 0xFF
    server.objects[name] = bytes(data)


def open_files() -> Iterator[str]:
    """Of this process; removed ones end in "(deleted)"."""
    for each in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            yield os.readlink(f"/proc/self/fd/{each}")


class TestWhole:
    def test_each_shard_is_fetched_once_and_none_is_left(self, url: str, server: Server, temporary: Path) -> None:
        report = checked(url, decode=4)
        found = report.found
        assert report.whole(strict=True) and kinds(report) == {} and report.place.catalogued
        assert (found.shards, found.images, found.indexes, found.checked, found.decoded) == (3, 15, 3, 15, 4)
        # One byte more: after the last one the store is asked whether the object is still the same.
        assert all(server.sent[name] - len(data) in (0, 1) for name, data in server.objects.items())
        assert list(temporary.iterdir()) == []

    def test_it_says_what_a_check_of_the_disk_says(self, packed: Path, url: str) -> None:
        here, there = checked(packed, decode=-1).as_dict(), checked(url, decode=-1).as_dict()
        for name in ("shards", "images", "labels", "damage", "remarks"):
            assert there[name] == here[name]

    def test_by_several_processes(self, url: str, temporary: Path) -> None:
        report = checked(url, workers=2)
        assert report.whole(strict=True) and report.found.images == 15 and list(temporary.iterdir()) == []

    @pytest.mark.parametrize("words", [["s-{0..1}.tar"], ["s-[01].tar"], ["s-0.tar", "s-1.tar"]])
    def test_some_of_a_catalogues_shards(self, url: str, words: list[str]) -> None:
        report = checked(*(f"{url}/{word}" for word in words))
        assert report.whole(strict=True) and report.found.images == 10

    def test_a_catalogue_and_indexes_of_this_machine(self, packed: Path, url: str, server: Server) -> None:
        for name in [name for name in server.objects if not name.endswith(".tar")]:
            del server.objects[name]
        with pytest.raises(DataError, match=r"shards.catalogue: there is none, .* catalogue=FOLDER here"):
            checked(url)
        report = checked(url, catalogue=str(packed))
        assert report.whole(strict=True) and report.found.indexes == 3

    def test_one_shard_at_a_time_is_here(self, url: str, tmp_path: Path) -> None:
        """Also for the copies that go to one process, one for each shard; the removed file is closed."""
        scratch = tmp_path / "scratch"
        storage = Fetched(Store("http", patience=QUICK), scratch)
        for number in range(3):
            found, _ = examine(storage, Shard(f"{url}/s-{number}.tar"), Settings(), {})
            assert found.images == 5 and len(list((scratch / str(os.getpid())).glob("*.tar"))) == 1
            assert not [path for path in open_files() if path.startswith(str(scratch)) and path.endswith("(deleted)")]
            if number == 1:
                storage = Fetched(Store("http", patience=QUICK), scratch)


class TestDamage:
    def test_a_flipped_byte(self, packed: Path, url: str, server: Server) -> None:
        offset, size = build_index(packed / "s-1.tar").place(2)
        flipped(server, "data/s-1.tar", offset + size - 3)
        report = checked(url)
        assert kinds(report) == {"sha256": 1, "checksum": 1} and report.found.images == 15
        (finding,) = [each for each in report.found.findings if each.kind == "checksum"]
        assert (finding.shard, finding.where, finding.offset) == (f"{url}/s-1.tar", "s-1.tar: 00007.jpg", offset)
        assert server.sent["data/s-1.tar"] <= len(server.objects["data/s-1.tar"]) + 1  # nor is it fetched again

    def test_a_damaged_header_is_told_by_its_url(self, packed: Path, url: str, server: Server) -> None:
        flipped(server, "data/s-1.tar", build_index(packed / "s-1.tar").place(2)[0] - 512)
        report = checked(url)
        assert kinds(report) == {"sha256": 1, "tar": 1} and said(report, "tar")[0][1].startswith("damaged at offset")

    def test_not_there(self, url: str, server: Server) -> None:
        del server.objects["data/s-1.tar"]
        report = checked(url)
        assert said(report, "missing") == [("s-1.tar", "not there: copy it again")]
        assert kinds(report) == {"missing": 1} and report.found.images == 10

    def test_an_index_that_is_not_there(self, url: str, server: Server) -> None:
        del server.objects["data/s-1.tar.index"]
        report = checked(url)
        assert kinds(report) == {"index": 1} and said(report, "index")[0][0] == "s-1.tar.index"
        assert report.found.images == 15

    def test_cut_short(self, packed: Path, url: str, server: Server) -> None:
        """The object itself: what was lost is known by the index."""
        server.objects["data/s-1.tar"] = server.objects["data/s-1.tar"][:build_index(packed / "s-1.tar").place(3)[0] + 10]
        assert kinds(checked(url)) == {"length": 1, "tar": 1, "image": 2}

    @pytest.mark.parametrize(("fault", "text"), [
        (Fault(status=503), "cannot be fetched: the server answers with status 503, the last of 3 tries"),
        (Fault(status=403), "cannot be fetched: access is refused (403): check "),
        (Fault(after=100, then="close"), "cannot be fetched: "),
    ])
    @pytest.mark.parametrize("name", ["s-1.tar", "s-1.tar.index"])
    def test_what_cannot_be_fetched_is_not_the_end(self, url: str, server: Server, fault: Fault, text: str, name: str,
                                                   temporary: Path) -> None:
        server.always[f"data/{name}"] = fault
        report = checked(url)
        index = name.endswith(".index")
        ((where, reason),) = said(report, "index" if index else "missing")
        assert (where, reason[:len(text)]) == (name, text) and sum(kinds(report).values()) == 1
        assert report.found.images == (15 if index else 10) and list(temporary.iterdir()) == []


def test_a_server_that_fails_now_and_then(url: str, server: Server) -> None:
    for name in list(server.objects):
        server.faults[name] = [Fault(status=503), Fault(after=200, then="reset")]
    assert checked(url).whole(strict=True)


def test_no_room_here_is_the_end(url: str, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise fetched.Local("No space left on device")

    monkeypatch.setattr(fetched, "fetch", full)
    with pytest.raises(DataError, match=r"cannot be written there \(No space left on device\): make room .*TMPDIR"):
        checked(url)
    assert list(temporary.iterdir()) == []


def test_the_command(url: str, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"{url}/", "workers=1"]) == 0 and "3 with index, in a catalogue" in capsys.readouterr().out
    del server.objects["data/s-1.tar"]
    assert main(["check", f"{url}/", "workers=1"]) == 1 and f"{url}/s-1.tar: not there" in capsys.readouterr().out
    server.objects[f"data/{CATALOGUE}"] = b"nothing"
    assert main(["check", f"{url}/", "workers=1"]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and f"{url}/{CATALOGUE}: cannot be used" in err
