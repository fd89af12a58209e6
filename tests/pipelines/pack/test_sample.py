"""Keys that may stand in a tar, and members that are the same bytes everywhere."""

from __future__ import annotations

import io
import tarfile

import pytest
from viewmill.pipelines.index import EXTENSIONS
from viewmill.pipelines.pack.members import length, member
from viewmill.pipelines.pack.sample import UnsafeName, again, key_from_path, safe_key


@pytest.mark.parametrize(("path", "key"), [
    ("cat/1.jpg", "cat/1"), ("cat.v2/1.final.JPEG", "cat.v2/1_final"), ("./a/./b.png", "a/b"), ("a//b.jpg", "a/b"),
    ("ünï/日本.jpg", "ünï/日本"), ("a.txt", "a_txt"), (".hidden.jpg", "_hidden"), ("noextension", "noextension"),
])
def test_keys_from_paths(path: str, key: str) -> None:
    assert key_from_path(path, EXTENSIONS) == key


@pytest.mark.parametrize("key", ["/etc/x", "../x", "a/../../x", "..", "", "a/", "C:\\x", "c:/x", "\\x", "a\\..\\x", "a\0b"])
def test_names_that_would_leave(key: str) -> None:
    with pytest.raises(UnsafeName):
        safe_key(key)


def test_a_taken_key_gets_a_number() -> None:
    assert [again("a", count) for count in range(3)] == ["a", "a_2", "a_3"]


@pytest.mark.parametrize("name", ["a.jpg", "x" * 100, "x" * 101 + ".jpg", "ü" * 60 + ".jpg", "d/" * 400 + "日本.jpg"])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 513])
def test_members(name: str, size: int) -> None:
    data = bytes(range(256)) * 3
    made = member(name, data[:size])
    assert len(made) == length(len(name.encode()), size)
    with tarfile.open(fileobj=io.BytesIO(made + bytes(1024))) as tar:
        info, = tar
        file = tar.extractfile(info)
        assert file is not None and (info.name, file.read()) == (name, data[:size])
        assert (info.mtime, info.uid, info.mode, info.uname) == (0, 0, 0o644, "")
