"""Each image has one reason at most; what is in all of them together; images that are there twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from viewmill.pipelines.catalogue import seal_shard
from viewmill.pipelines.index import RECORD, ShardIndex, build_index
from viewmill.pipelines.index_file import ShardFacts, index_bytes
from viewmill.pipelines.inspection.duplicates import equal_images, equal_keys
from viewmill.pipelines.inspection.findings import Finding, Found, Hashes, quantile, rounded

from ..shards import encoded, picture, shard, write_tar
from ..test_faults_in_shards import IMAGES
from .checked import checked, flip, kinds, said


def test_each_fault_has_its_reason(tmp_path: Path) -> None:
    """As a loader would give it, for every image of the table of faults."""
    files = [(f"{number:03}.{extension}", data) for number, (extension, data, _) in enumerate(IMAGES.values())]
    expected = {f"x.tar: {name}": reason for (name, _), (_, _, reason) in zip(files, IMAGES.values(), strict=True)
                if isinstance(reason, str)}
    report = checked(write_tar(tmp_path / "x.tar", files), decode=-1)
    found = dict(said(report, "image"))
    assert found.keys() == expected.keys() and report.found.counts["image"] == len(expected) == 11
    assert all(any(found[where].startswith(start) for start in expected[where].split("|")) for where in expected)
    named = {where.partition(": ")[2]: reason for where, reason in said(report, "extension")}
    assert {name: list(IMAGES)[int(name[:3])] for name in named} == {
        name: fault for (name, _), fault in zip(files, IMAGES, strict=True) if fault in ("PNG named .jpg", "JPEG named .png")}


def test_without_decoding_headers_tell_what_they_can(tmp_path: Path) -> None:
    """Neither cut pixels nor damaged ones, but whatever is no image, and the bomb."""
    chosen = [name for name, (_, _, reason) in IMAGES.items() if isinstance(reason, str)]
    files = [(f"{number}.jpg", IMAGES[name][1]) for number, name in enumerate(chosen)]
    report = checked(write_tar(tmp_path / "x.tar", files), decode=0)
    assert {chosen[int(where.split()[1][:-4])]: reason for where, reason in said(report, "image")} == {
        "zero bytes": "empty, 0 bytes", "garbage": "not an image", "zeros": "not an image",
        "JPEG cut in its header": "JPEG cut short before its size", "text named .jpg": "not an image",
        "EPS named .jpg": "not an image", "JPEG that says 30,000 x 30,000": "more than 178,956,970 pixels"}


def test_changed_bytes_of_a_packed_image(packed: Path) -> None:
    path = packed / "s-1.tar"
    index = build_index(path)
    flip(path, index.place(2)[0] + 30)
    for options in ({"decode": 0}, {"decode": -1}, {"decode": 15}):
        report = checked(packed, **options)
        assert kinds(report) == {"sha256": 1, "checksum": 1}
        assert said(report, "checksum") == [("s-1.tar: 00007.jpg", "its bytes are not those that were packed (checksum)")]


def test_a_size_that_is_not_the_indexs(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", 3)
    index = build_index(path)
    records = np.array(index.records, RECORD)
    records["width"][1] += 1
    other = ShardIndex(records, index.names, index.digest)
    Path(f"{path}.index").write_bytes(index_bytes(other, ShardFacts(path.stat().st_size)))
    for decode in (0, -1):
        assert said(checked(path, decode=decode), "size") == [("x.tar: 00001.jpg", "its size is not that of the index")]


def test_decoded_images_are_spread_evenly(tmp_path: Path) -> None:
    """All are cut short, so that those that are decoded are named: 5 of 0..11 over three shards, 0, 2.75, 5.5, 8.25, 11."""
    cut = [encoded(picture(16, 16, i))[:-200] for i in range(12)]
    paths = [write_tar(tmp_path / f"{s}.tar", [(f"{i:02}.jpg", cut[i]) for i in range(4 * s, 4 * s + 4)]) for s in range(3)]
    report = checked(*paths, decode=5)
    assert report.found.decoded == 0
    assert [where for where, _ in said(report, "image")] == ["0.tar: 00.jpg", "0.tar: 03.jpg", "1.tar: 06.jpg", "2.tar: 08.jpg",
                                                             "2.tar: 11.jpg"]
    assert len(said(checked(*paths, decode=100), "image")) == 12 and kinds(checked(*paths, decode=0)) == {}
    sound = shard(tmp_path / "sound.tar", 9)
    assert [checked(sound, decode=count).found.decoded for count in (0, 1, 4, 9, 10, -1)] == [0, 1, 4, 9, 9, 9]


def test_what_there_is(tmp_path: Path) -> None:
    gray, alpha = picture(9, 5)[..., 0], np.dstack([picture(7, 6), picture(7, 6)[..., 0]])
    images = [("jpg", encoded(picture(4, 8))), ("jpg", encoded(gray)), ("png", encoded(alpha, "PNG")),
              ("png", encoded(Image.fromarray(picture(3, 3)).quantize(4), "PNG")), ("webp", encoded(picture(5, 5), "WEBP"))]
    files = [each for i, (extension, data) in enumerate(images)
             for each in ((f"{i}.{extension}", data), (f"{i}.cls", str(i % 2).encode()))]
    report = checked(write_tar(tmp_path / "x.tar", files), decode=-1)
    about = report.as_dict()
    assert about["images"]["formats"] == {"JPEG": 2, "PNG": 2, "WEBP": 1}
    assert about["images"]["modes"] == {"colour": 1, "gray": 1, "colour and alpha": 1, "palette": 1}
    assert about["images"]["height"] == {"min": 3, "5%": 3, "median": 5, "95%": 9, "max": 9}
    assert about["images"]["width"] == {"min": 3, "5%": 3, "median": 5, "95%": 8, "max": 8}
    assert about["images"]["bytes"] == sum(len(data) for _, data in images)
    assert about["labels"] == {"classes": 2, "names": [], "unlabelled": 0, "counts": {"0": 3, "1": 2}}
    size = (tmp_path / "x.tar").stat().st_size
    assert about["shards"] == {"count": 1, "bytes": size, "members": 10, "indexes": 0, "catalogue": False, "min": size,
                               "median": size, "max": size}


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (7, 7), (999, 999), (1004, 1000), (1005, 1010), (123_456, 123_000)])
def test_lengths_are_kept_to_three_digits(size: int, expected: int) -> None:
    assert rounded(size) == expected


def test_remarks_are_kept_up_to_a_number_damage_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viewmill.pipelines.inspection.findings.KEPT", 2)
    found = Found()
    for kind in ("key", "image"):
        for number in range(5):
            found.add(Finding(kind, "x.tar", f"x.tar: {number}.jpg", "why"))
    assert found.counts == {"key": 5, "image": 5} and [each.kind for each in found.findings] == ["key"] * 2 + ["image"] * 5


def test_quantiles() -> None:
    """Of 1, 1, 2, 5: the least values that 0, 1/2, 3/4 and all of them do not exceed."""
    from collections import Counter

    counts = Counter([1, 1, 2, 5])
    assert [quantile(counts, share) for share in (0.0, 0.5, 0.75, 1.0)] == [1, 1, 2, 5]


class TestFolders:
    @pytest.fixture
    def photos(self, tmp_path: Path) -> Path:
        for name in ("cat/a.jpg", "cat/b.jpg", "dog/c.png", "d.jpg"):
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(picture(4, 6, len(name) + ord(path.stem[0])), "PNG" if name.endswith("png") else "JPEG"))
        return tmp_path / "photos"

    def test_whole(self, photos: Path) -> None:
        report = checked(photos, decode=-1)
        assert report.whole(strict=True) and report.found.images == 4 and report.found.shards == 0
        assert dict(report.found.labels) == {0: 2, 1: 1} and report.found.unlabelled == 1
        assert "cat (2), dog (1)" in str(report) and "shards" not in str(report)

    def test_damaged(self, photos: Path) -> None:
        (photos / "cat" / "b.jpg").write_bytes(b"")
        (photos / "dog" / "c.png").write_bytes((photos / "cat" / "a.jpg").read_bytes())
        report = checked(photos, decode=-1, duplicates=True)
        assert [(each.kind, each.key, each.where, each.reason) for each in report.found.findings] == [
            ("image", "cat/b.jpg", str(photos / "cat" / "b.jpg"), "empty, 0 bytes"),
            ("extension", "dog/c.png", str(photos / "dog" / "c.png"), "a JPEG named .png"),
            ("duplicate", "dog/c.png", str(photos / "dog" / "c.png"), f"has the bytes of {photos / 'cat' / 'a.jpg'}")]


class TestDuplicates:
    def test_bytes_and_keys(self, tmp_path: Path) -> None:
        one, two, three = (encoded(picture(4, 4, seed)) for seed in range(3))
        a = write_tar(tmp_path / "a.tar", [("1.jpg", one), ("2.jpg", two), ("3.jpg", one)])
        b = write_tar(tmp_path / "b.tar", [("4.jpg", three), ("2.jpg", two), ("5.jpg", one)])
        report = checked(a, b, duplicates=True)
        assert said(report, "duplicate") == [("a.tar: 3.jpg", "has the bytes of a.tar: 1.jpg"),
                                             ("b.tar: 2.jpg", "has the bytes of a.tar: 2.jpg"),
                                             ("b.tar: 5.jpg", "has the bytes of a.tar: 1.jpg")]
        assert said(report, "key twice") == [("b.tar: 2.jpg", "has the key of a.tar: 2.jpg")]
        assert kinds(report) == {"duplicate": 3, "key twice": 1} and report.whole()
        assert kinds(checked(a, b)) == {}

    def test_of_many_all_are_counted_and_the_first_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("viewmill.pipelines.inspection.KEPT", 2)
        same = encoded(picture(4, 4))
        report = checked(write_tar(tmp_path / "a.tar", [(f"{i}.jpg", same) for i in range(9)]), duplicates=True)
        assert kinds(report) == {"duplicate": 8}
        assert [where for where, _ in said(report, "duplicate")] == ["a.tar: 1.jpg", "a.tar: 2.jpg"]

    def test_what_cannot_be_read_equals_nothing(self, packed: Path) -> None:
        path = packed / "s-0.tar"
        path.write_bytes(path.read_bytes()[:build_index(path).place(2)[0] + 5])
        report = checked(packed, duplicates=True)
        assert report.found.counts["image"] == 3 and report.found.counts["duplicate"] == 0

    def test_against_a_search_of_all_pairs(self) -> None:
        chance = np.random.default_rng(3)
        images, keys = chance.integers(0, 4, (60, 2), np.uint64), chance.integers(0, 30, 60, np.uint64)
        pieces = [Hashes(images[at:at + 20], keys[at:at + 20]) for at in (0, 20, 40)]
        first = [next(j for j in range(60) if (images[j] == images[i]).all()) for i in range(60)]
        assert equal_images(pieces).tolist() == [[i, j] for i, j in enumerate(first) if i != j]
        first = [next(j for j in range(60) if keys[j] == keys[i]) for i in range(60)]
        assert equal_keys(pieces).tolist() == [[i, j] for i, j in enumerate(first) if i // 20 != j // 20]
        assert len(equal_images([])) == len(equal_keys([])) == 0


def test_an_index_without_checksums_is_no_reason_to_read_all(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", 3)
    Path(f"{path}.index").write_bytes(index_bytes(build_index(path), ShardFacts(path.stat().st_size)))
    assert checked(path, decode=0).found.checked == 0
    seal_shard(path)
    assert checked(path, decode=0).found.checked == 3 and checked(path, decode=0, checksums=False).found.checked == 0
