"""Folders of images: classes by folder name, keys by path."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from viewmill.pipelines.faults import BadSample, DataError
from viewmill.pipelines.sources.folder import FolderSource
from viewmill.pipelines.sources.keys import NoSuchKey

from ..shards import encoded, picture


def put(folder: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(picture(3 + i, 7, i), "PNG" if name.lower().endswith("png") else "JPEG"))
    return folder


def test_folders_are_classes_numbered_by_name(tmp_path: Path) -> None:
    (tmp_path / "bird").mkdir()  # empty, and counted: class numbers then agree between training and test folders
    source = FolderSource(put(tmp_path, "dog/1.jpg", "cat/b.JPEG", "cat/a.png", "cat/deep/er/c.webp", "dog/notes.txt",
                              "dog/.hidden.jpg", ".git/x.jpg"))
    assert source.classes == ("bird", "cat", "dog") and source.labelled and source.local
    assert [source.key(i) for i in range(len(source))] == ["cat/a.png", "cat/b.JPEG", "cat/deep/er/c.webp", "dog/1.jpg"]
    assert [source.label(i) for i in range(4)] == [1, 1, 1, 2]
    assert source.shard_sizes.tolist() == [4]
    assert source.read(3) == (tmp_path / "dog" / "1.jpg").read_bytes()
    assert source.where(0) == str(tmp_path / "cat" / "a.png")


def test_a_flat_folder_is_unlabelled(tmp_path: Path) -> None:
    source = FolderSource(put(tmp_path, "b.jpg", "a.jpg"))
    assert not source.labelled and [source.label(i) for i in range(2)] == [-1, -1]
    assert [source.key(i) for i in range(2)] == ["a.jpg", "b.jpg"]


def test_images_beside_classes_have_no_label(tmp_path: Path) -> None:
    source = FolderSource(put(tmp_path, "cat/a.jpg", "z.jpg"))
    assert [(source.key(i), source.label(i)) for i in range(2)] == [("cat/a.jpg", 0), ("z.jpg", -1)]


def test_sizes_are_read_from_headers_once(tmp_path: Path) -> None:
    source = FolderSource(put(tmp_path, "a.jpg", "b.png", "c.jpg"))
    (tmp_path / "c.jpg").write_bytes(b"no image")
    sizes = source.size_hw(np.array([2, 1, 0, 1]))
    assert sizes.dtype == np.int32 and sizes.tolist() == [[0, 0], [4, 7], [3, 7], [4, 7]]
    (tmp_path / "a.jpg").unlink()
    assert source.size_hw(np.array([0])).tolist() == [[3, 7]]
    with pytest.raises(BadSample, match=r"^cannot be read \(No such file or directory\)$"):
        source.read(0)
    fresh = FolderSource(tmp_path)
    (tmp_path / "b.png").unlink()
    assert fresh.size_hw(np.array([0])).tolist() == [[0, 0]]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    put(tmp_path, "cat/a.jpg")
    os.symlink(tmp_path, tmp_path / "cat" / "around")
    os.symlink(tmp_path / "cat" / "a.jpg", tmp_path / "cat" / "b.jpg")
    assert FolderSource(tmp_path).files == ["cat/a.jpg", "cat/b.jpg"]


def test_finds_by_key_or_path(tmp_path: Path) -> None:
    source = FolderSource(put(tmp_path, "cat/a.jpg", "cat/b.jpg", "dog/a.jpg"))
    assert source.find("dog/a.jpg") == source.find(str(tmp_path / "dog" / "a.jpg")) == 2
    with pytest.raises(NoSuchKey, match=r"^no sample has the key 'cat/c\.jpg'; near it: cat/a\.jpg, cat/b\.jpg, dog/a\.jpg$"):
        source.find("cat/c.jpg")


def test_the_fingerprint_follows_names_and_lengths_not_the_place(tmp_path: Path) -> None:
    names = ("cat/a.jpg", "cat/b.jpg")
    a, b = (FolderSource(put(tmp_path / where, *names)).fingerprint for where in ("a", "b"))
    assert a == b == FolderSource(tmp_path / "a").fingerprint
    (tmp_path / "b" / "cat" / "b.jpg").write_bytes(b"shorter")
    assert FolderSource(tmp_path / "b").fingerprint != a
    assert FolderSource(put(tmp_path / "a", "cat/c.jpg")).fingerprint != a


def test_pickles(tmp_path: Path) -> None:
    source = FolderSource(put(tmp_path, "cat/a.jpg", "cat/b.jpg"))
    copy = pickle.loads(pickle.dumps(source))
    assert copy.read(1) == source.read(1) and copy.size_hw(np.arange(2)).tolist() == [[3, 7], [4, 7]]


def test_no_images_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match=r": no images in this folder or below: images are files named \.jpg"):
        FolderSource(tmp_path)
    with pytest.raises(DataError, match=r"none: cannot be read \(No such file or directory\): check the path"):
        FolderSource(tmp_path / "none")
