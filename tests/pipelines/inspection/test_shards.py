"""Shards against their catalogue and indexes, and tars from beginning to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from viewmill.pipelines.catalogue import seal_shard, write_catalogue
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.index import build_index
from viewmill.pipelines.index_file import ShardFacts, index_bytes

from ..shards import encoded, picture, shard, write_tar
from .checked import changed, checked, flip, kinds, said

JPEG = encoded(picture(6, 8))


def offset_of(path: Path, row: int) -> int:
    return build_index(path).place(row)[0]


def test_whole(packed: Path) -> None:
    report = checked(packed, decode=-1)
    found = report.found
    assert report.whole() and report.whole(strict=True) and kinds(report) == {}
    assert (found.shards, found.images, found.indexes, found.checked, found.decoded) == (3, 15, 3, 15, 15)
    assert found.bytes == sum(path.stat().st_size for path in packed.glob("*.tar")) and found.members == 30


def test_a_pattern_of_a_catalogues_shards_asks_for_no_others(packed: Path) -> None:
    report = checked(packed / "s-{0..1}.tar")
    assert report.whole(strict=True) and report.place.catalogued and report.found.shards == 2


class TestAgainstTheCatalogue:
    def test_missing_and_extra(self, packed: Path) -> None:
        (packed / "s-1.tar").rename(packed / "t.tar")
        report = checked(packed)
        assert said(report, "missing") == [("s-1.tar", "not there: copy it again")]
        ((where, reason),) = said(report, "extra")
        assert where == "t.tar" and reason.startswith("not in the catalogue: ")
        assert kinds(report) == {"missing": 1, "extra": 1, "no index": 1} and not report.whole()

    def test_another_length(self, packed: Path) -> None:
        """The tar is whole, and its old index, of another length, is no second damage."""
        shard(packed / "s-1.tar", 9, 5)
        report = checked(packed)
        assert kinds(report) == {"length": 1}
        assert said(report, "length")[0][1].startswith(f"{(packed / 's-1.tar').stat().st_size} bytes, ")

    def test_equal_length_other_bytes(self, packed: Path) -> None:
        """In the padding, which no image's checksum covers."""
        changed(packed / "s-1.tar", lambda data: data.__setitem__(offset_of(packed / "s-1.tar", 4) - 513, 1))
        report = checked(packed)
        assert said(report, "sha256") == [("s-1.tar", "its bytes are not those that were packed (sha256): copy it again")]
        assert not checked(packed).whole() and checked(packed, checksums=False).whole()

    def test_damaged_catalogue(self, packed: Path) -> None:
        flip(packed / "shards.catalogue", 200)
        report = checked(packed)
        assert kinds(report) == {"catalogue": 1} and report.found.images == 15
        assert "its checksum does not fit" in said(report, "catalogue")[0][1]


class TestIndexes:
    def test_missing(self, packed: Path) -> None:
        (packed / "s-0.tar.index").unlink()
        assert said(checked(packed), "index") == [("s-0.tar.index", "not there: write it again with viewmill pack --index-only")]

    def test_missing_without_a_catalogue_is_a_remark_where_others_have_one(self, packed: Path) -> None:
        (packed / "shards.catalogue").unlink()
        (packed / "s-0.tar.index").unlink()
        assert kinds(checked(packed / "s-*.tar")) == {"no index": 1}
        for path in packed.glob("*.index"):
            path.unlink()
        assert kinds(checked(packed / "s-*.tar")) == {}

    def test_damaged(self, packed: Path) -> None:
        flip(packed / "s-0.tar.index", 300)
        report = checked(packed)
        assert kinds(report) == {"index": 1} and "its checksum does not fit" in said(report, "index")[0][1]

    def test_of_another_shard(self, packed: Path) -> None:
        """Of the same length, so that only its digest and what it says of the samples give it away."""
        (packed / "s-0.tar.index").write_bytes((packed / "s-1.tar.index").read_bytes())
        reasons = [reason for _, reason in said(checked(packed), "index")]
        assert reasons[0].startswith("not the one of the catalogue (its digest)")
        assert reasons[1].startswith("5 of 5 samples are not where it says, the first is 00000.jpg")

    def test_stale(self, packed: Path) -> None:
        (packed / "shards.catalogue").unlink()
        shard(packed / "s-0.tar", 9)
        report = checked(packed / "s-*.tar")
        assert kinds(report) == {"index": 1} and "stale: of a tar of " in said(report, "index")[0][1]

    def test_of_a_longer_tar(self, tmp_path: Path) -> None:
        """What it says of samples is of no use: the tar is whole."""
        path = tmp_path / "x.tar"
        seal_shard(shard(path, 20))
        shard(path, 5, first=100)
        report = checked(path)
        assert kinds(report) == {"index": 1} and "stale" in said(report, "index")[0][1] and report.found.images == 5

    def test_another_length_than_in_the_catalogue(self, packed: Path) -> None:
        """Of the same samples: written again by something else, without the sha256."""
        path = packed / "s-0.tar"
        file = Path(f"{path}.index")
        before = file.stat().st_size
        file.write_bytes(index_bytes(build_index(path, True), ShardFacts(path.stat().st_size)))
        ((where, reason),) = said(checked(packed), "index")
        assert where == "s-0.tar.index" and reason.startswith(f"{file.stat().st_size} bytes, {before} in the catalogue: ")

    def test_another_label(self, packed: Path) -> None:
        """Of equal length; without the catalogue and a checksum of the shard, only the index tells."""
        (packed / "shards.catalogue").unlink()
        path = packed / "s-0.tar"
        (packed / "s-0.tar.index").write_bytes(index_bytes(build_index(path, True), ShardFacts(path.stat().st_size)))
        changed(path, lambda data: data.__setitem__(data.index(b"00002.cls") + 512, ord("7")))
        assert said(checked(path), "index") == [("s-0.tar.index", "1 of 5 samples have another label than it says, the first is "
                                                 "00002.jpg: remove it, and write it again with viewmill pack --index-only")]


class TestTars:
    @pytest.mark.parametrize(("cut", "text"), [(100, "the tar is cut short"), (0, "empty, 0 bytes")])
    def test_cut_short(self, tmp_path: Path, cut: int, text: str) -> None:
        path = shard(tmp_path / "x.tar", 4)
        whole = path.read_bytes()
        path.write_bytes(whole[:cut and offset_of(path, 3) + cut])
        report = checked(path)
        assert kinds(report) == {"tar": 1} and said(report, "tar")[0][1].startswith(text)
        assert report.found.images == (3 if cut else 0)  # those before it are looked at all the same

    def test_behind_the_damage_the_index_leads_on(self, packed: Path) -> None:
        """A header is lost; all images are there, and compared."""
        path = packed / "s-0.tar"
        flip(path, offset_of(path, 2) - 512)
        report = checked(packed, decode=-1)
        assert kinds(report) == {"sha256": 1, "tar": 1} and report.found.images == 15
        assert "damaged at offset" in said(report, "tar")[0][1]

    def test_cut_short_the_index_says_what_is_lost(self, packed: Path) -> None:
        path = packed / "s-0.tar"
        path.write_bytes(path.read_bytes()[:offset_of(path, 3) + 10])
        report = checked(packed)
        assert kinds(report) == {"length": 1, "tar": 1, "image": 2}
        assert said(report, "image") == [(f"s-0.tar: 0000{i}.jpg", "its shard has become shorter") for i in (3, 4)]

    def test_more_behind_the_end(self, tmp_path: Path) -> None:
        path = shard(tmp_path / "x.tar", 4)
        path.write_bytes(path.read_bytes() + b"more" * 128)
        assert "is followed by more data" in said(checked(path), "tar")[0][1]

    def test_no_tar(self, tmp_path: Path) -> None:
        (tmp_path / "x.tar").write_bytes(b"no tar" * 200)
        assert said(checked(tmp_path / "x.tar"), "tar")[0][1].startswith("not a tar")


class TestSamples:
    def test_remarks(self, tmp_path: Path) -> None:
        files = [("a.jpg", JPEG), ("a.cls", b"1"), ("../b.jpg", JPEG), ("../b.cls", b"2"), ("/c.jpg", JPEG), ("/c.cls", b"3"),
                 ("a.jpg", JPEG), ("a.cls", b"1"), ("d.txt", b"text"), ("._e", b"mac"), ("f.jpg", JPEG), ("f.cls", b"cat"),
                 ("g.jpg", JPEG), ("g.json", b'{"label": "7"}'), ("h.jpg", JPEG), ("i.jpg", encoded(picture(6, 8), "PNG")),
                 ("i.cls", b"4")]
        report = checked(write_tar(tmp_path / "x.tar", files))
        assert report.whole() and not report.whole(strict=True)
        assert said(report, "key") == [("x.tar: a.jpg", "its key is used before in this shard")]
        assert [each.where for each in report.found.findings if each.kind == "name"] == ["x.tar: ../b.jpg", "x.tar: /c.jpg"]
        assert said(report, "no image") == [("x.tar: d.txt", "a sample without an image")]
        assert said(report, "member") == [("x.tar: ._e", "belongs to no sample: hidden, or without extension")]
        assert said(report, "label") == [("x.tar: f.jpg", "its .cls is no whole number >= 0"),
                                         ("x.tar: g.jpg", "the label in its .json is no whole number >= 0")]
        assert [where for where, _ in said(report, "unlabelled")] == ["x.tar: f.jpg", "x.tar: g.jpg", "x.tar: h.jpg"]
        assert said(report, "extension") == [("x.tar: i.jpg", "a PNG named .jpg")]
        assert report.found.unlabelled == 3 and dict(report.found.labels) == {1: 2, 2: 1, 3: 1, 4: 1}

    def test_of_an_unlabelled_shard_no_sample_is_named(self, tmp_path: Path) -> None:
        report = checked(shard(tmp_path / "x.tar", 4, labelled=False))
        assert report.whole(strict=True) and report.found.unlabelled == 4

    def test_metadata_is_no_label(self, tmp_path: Path) -> None:
        files = [("a.jpg", JPEG), ("a.json", json.dumps({"caption": "a cat"}).encode()), ("b.jpg", JPEG), ("b.json", b"{")]
        assert said(checked(write_tar(tmp_path / "x.tar", files)), "label") == [("x.tar: b.jpg", "its .json cannot be read")]


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", [("a.txt", b"")])
    for data, text in ((str(tmp_path / "y.tar"), "does not exist"), (str(tmp_path), "say which, as in"),
                       (str(tmp_path / "x.tar"), "no images")):
        with pytest.raises(DataError, match=text):
            checked(data)


def test_many_shards_by_many_processes(tmp_path: Path) -> None:
    """The same findings, in the same order."""
    paths = [shard(tmp_path / f"{i}.tar", 3, 3 * i) for i in range(4)]
    write_catalogue(tmp_path, [seal_shard(path) for path in paths])
    for path in paths:
        flip(path, offset_of(path, 1) + 20)
    one, two = checked(tmp_path, decode=-1), checked(tmp_path, decode=-1, workers=2)
    assert one.found == two.found and kinds(one) == {"sha256": 4, "checksum": 4}
