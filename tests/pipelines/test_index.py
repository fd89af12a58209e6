"""The index of a shard: what is a sample, its size, label, name and checksum."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from PIL import Image
from viewmill.pipelines.index import build_index
from viewmill.pipelines.index_file import load_index

from .shards import encoded, picture, shard, write_tar

SMALL = encoded(picture(5, 9))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VIEWMILL_CACHE_DIR", str(folder))
    return folder


def of(path: Path, files: list[tuple[str, bytes]]) -> list[tuple[str, int]]:
    """(key, label) of each sample."""
    found = build_index(write_tar(path / "x.tar", files))
    return list(zip(found.keys(), found.records["label"].tolist(), strict=True))


def test_a_shard_of_images_and_labels(tmp_path: Path) -> None:
    found = build_index(shard(tmp_path / "x.tar", 7, first=3))
    assert len(found) == 7 and list(found.keys()) == [f"{i:05d}" for i in range(3, 10)]
    assert found.name(6) == "00009.jpg"
    assert found.records["label"].tolist() == [3, 4, 0, 1, 2, 3, 4]
    assert found.records["height"].tolist() == [4, 5, 6, 4, 5, 6, 4] and set(found.records["width"]) == {8}
    data = (tmp_path / "x.tar").read_bytes()
    for row, i in enumerate(range(3, 10)):
        record = found.records[row]
        assert data[record["offset"]:record["offset"] + record["size"]] == encoded(picture(4 + i % 3, 8, i))


def test_keys_end_at_the_first_dot_of_the_file_name(tmp_path: Path) -> None:
    files = [("a.jpg", SMALL), ("dir.with.dots/b.png", SMALL), ("../c.JPEG", SMALL), ("d.seg.png", SMALL), ("d.jpg", SMALL),
             ("e.v2.jpg", SMALL), (".hidden.jpg", SMALL), ("./._f.jpg", SMALL), ("noextension", SMALL), ("g", SMALL)]
    assert [key for key, _ in of(tmp_path, files)] == ["a", "dir.with.dots/b", "../c", "d"]


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "jpe", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm",
                                       "JPG", "Png"])
def test_images_by_extension(tmp_path: Path, extension: str) -> None:
    assert of(tmp_path, [(f"a.{extension}", SMALL), ("a.txt", b"x")]) == [("a", -1)]


def test_what_is_no_image_is_no_sample(tmp_path: Path) -> None:
    assert of(tmp_path, [("a.txt", b"x"), ("a.npy", b"x"), ("b.jpg.txt", SMALL), ("c.cls", b"1")]) == []


@pytest.mark.parametrize(("files", "label"), [
    ([("a.cls", b"7")], 7), ([("a.cls", b" 7\n")], 7), ([("a.cls", b"+7")], 7), ([("a.cls", b"0")], 0),
    ([("a.CLS", b"7")], 7),
    ([("a.cls", b"")], -1), ([("a.cls", b"cat")], -1), ([("a.cls", b"7.0")], -1), ([("a.cls", b"-3")], -1),
    ([("a.cls", b"1" * 30)], -1), ([("a.cls", b"7" + b" " * 99)], -1), ([("a.cls", b"\xff7")], -1),
    ([("a.json", b'{"label": 7}')], 7), ([("a.json", b'{"cls": 7}')], 7), ([("a.json", b'{"cls": 5, "label": 7}')], 7),
    ([("a.json", b'{"label": "cat", "cls": 7}')], 7), ([("a.json", b'{"label": true}')], -1),
    ([("a.json", b'{"label": 7.5}')], -1),
    ([("a.json", b'{"label": 99999999999999999999}')], -1), ([("a.json", b"[7]")], -1), ([("a.json", b"{")], -1),
    ([("a.json", b"[" * 100_000)], -1), ([("a.json", b"\xff")], -1),
    ([("a.cls", b"7"), ("a.json", b'{"label": 8}')], 7), ([("a.cls", b"?"), ("a.json", b'{"label": 8}')], 8),
    ([("b.cls", b"7")], -1), ([], -1),
])
def test_labels(tmp_path: Path, files: list[tuple[str, bytes]], label: int) -> None:
    assert of(tmp_path, [("a.jpg", SMALL), *files])[0] == ("a", label)
    if not files or files[0][0][0] == "a":
        assert of(tmp_path, [*files, ("a.jpg", SMALL)])[0] == ("a", label)


def test_neighbours_only_are_one_sample(tmp_path: Path) -> None:
    assert of(tmp_path, [("a.jpg", SMALL), ("b.jpg", SMALL), ("a.cls", b"1"), ("b.cls", b"2")]) == [("a", -1), ("b", -1)]


def test_the_same_name_twice_is_two_samples(tmp_path: Path) -> None:
    files = [("a.jpg", SMALL), ("a.cls", b"1"), ("a.jpg", SMALL), ("a.cls", b"2"), ("b.jpg", SMALL), ("a.jpg", SMALL)]
    assert of(tmp_path, files) == [("a", 1), ("a", 2), ("b", -1), ("a", -1)]


def test_of_two_images_of_a_sample_the_first_is_taken(tmp_path: Path) -> None:
    found = build_index(write_tar(tmp_path / "x.tar", [("a.png", encoded(picture(3, 3), "PNG")), ("a.jpg", SMALL)]))
    assert [found.name(i) for i in range(len(found))] == ["a.png"]


def test_sizes_behind_long_headers_and_of_what_is_no_image(tmp_path: Path) -> None:
    files = [("a.jpg", encoded(picture(30, 20), icc_profile=bytes(200_000))), ("b.jpg", b""),
             ("c.jpg", b"no image" * 2000), ("d.jpg", SMALL[:50]),
             ("e.png", SMALL), ("f.tif", encoded(picture(50, 60), "TIFF"))]
    records = build_index(write_tar(tmp_path / "x.tar", files)).records
    assert list(zip(records["height"].tolist(), records["width"].tolist(), strict=True)) == [(30, 20), (0, 0), (0, 0),
                                                                                             (0, 0), (5, 9), (50, 60)]


def test_names_of_any_bytes(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("ünï/日本.jpg", SMALL), ("b@.jpg", SMALL)])
    data = bytearray(path.read_bytes())
    at = data.index(b"b@.jpg")
    data[at + 1] = 0xFF  # not UTF-8
    data[at + 148:at + 156] = b"        "
    data[at + 148:at + 156] = b"%06o\0 " % sum(data[at:at + 512])
    path.write_bytes(data)
    assert list(build_index(path).keys()) == ["ünï/日本", "b\\xff"]
    assert list(load_index(path).keys()) == list(load_index(path).keys()) == ["ünï/日本", "b\\xff"]


class TestDigest:
    base = (("a.jpg", SMALL), ("a.cls", b"1"), ("b.jpg", SMALL))

    def digest(self, path: Path, files: list[tuple[str, bytes]], **more: int) -> str:
        return build_index(write_tar(path / "x.tar", files, **more)).digest

    def test_stays_where_only_the_tar_is_written_anew(self, tmp_path: Path) -> None:
        expected = self.digest(tmp_path, [*self.base])
        assert self.digest(tmp_path, [*self.base], mtime=5) == expected
        assert self.digest(tmp_path, [("z.txt", b"moves all offsets"), *self.base]) == expected

    @pytest.mark.parametrize("files", [
        [("a.jpg", SMALL), ("a.cls", b"2"), ("b.jpg", SMALL)], [("a.jpg", SMALL), ("a.cls", b"1"), ("c.jpg", SMALL)],
        [("a.jpg", SMALL), ("a.cls", b"1")], [("b.jpg", SMALL), ("a.jpg", SMALL), ("a.cls", b"1")],
        [("a.jpg", SMALL), ("a.cls", b"1"), ("b.jpg", SMALL + b"!")],
        [("a.jpg", SMALL), ("a.cls", b"1"), ("b.jpg", SMALL.replace(b"\x00\x05\x00\x09", b"\x00\x04\x00\x09"))],
    ])
    def test_changes_with_label_key_number_order_length_and_size(self, tmp_path: Path,
                                                                 files: list[tuple[str, bytes]]) -> None:
        assert self.digest(tmp_path, files) != self.digest(tmp_path, [*self.base])


def test_an_image_is_never_decoded_and_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Image.Image, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    files = [("a.jpg", SMALL), ("a.pkl", pickle.dumps([1])), ("a.pth", pickle.dumps([1])),
             ("a.json", json.dumps({"label": 1}).encode())]
    path = write_tar(tmp_path / "x.tar", files)
    assert load_index(path).records["label"].tolist() == load_index(path).records["label"].tolist() == [1]
