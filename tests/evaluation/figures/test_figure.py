"""A figure's file: its chunks byte by byte, what is read of it, and what is not taken for one."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from viewmill.evaluation.figures.figure import Figure, read, save

COMMAND = ["viewmill", "eval", "figure", "filters", "runs/a b", "out=f.png"]


def picture() -> Image.Image:
    return Image.fromarray(np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3))


def chunks(path: Path) -> list[tuple[bytes, bytes]]:
    """(type, data) as the PNG specification lays them out, each with its checksum looked at."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(data):
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        found.append((kind, body))
        at += 12 + length
    return found


def png(path: Path, keyword: bytes, text: bytes) -> Path:
    """A PNG of one black pixel with one text chunk, written by hand."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), (b"tEXt", keyword + b"\0" + text),
             (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts))
    return path


def test_one_text_chunk_ahead_of_the_pixels_says_what_the_figure_is(tmp_path: Path) -> None:
    path = save(picture(), tmp_path / "new" / "f.png", title="Äpfel", caption="zwei: 1 × 2", command=COMMAND)
    kinds = [kind for kind, _ in chunks(path)]
    assert kinds.count(b"tEXt") == 1 and kinds.index(b"tEXt") < kinds.index(b"IDAT")
    keyword, _, text = dict(chunks(path))[b"tEXt"].partition(b"\0")
    assert keyword == b"viewmill"
    assert json.loads(text.decode("ascii")) == {"title": "Äpfel", "caption": "zwei: 1 × 2", "command": COMMAND}
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(picture()))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = save(picture(), tmp_path / "f.png", title="Filters", caption="", command=COMMAND)
    assert read(path) == Figure("Filters", "", tuple(COMMAND), (6, 4))
    found = read(str(path))
    assert found is not None and found.line == "viewmill eval figure filters 'runs/a b' out=f.png"
    by_hand = png(tmp_path / "hand.png", b"viewmill", b'{"title": "T", "caption": "c", "command": [], "more": 1}')
    assert read(by_hand) == Figure("T", "c", (), (1, 1))


@pytest.mark.parametrize("text", [
    b"no JSON", b"[]", b"7", b'{"title": "", "caption": "", "command": []}', b'{"title": "T", "caption": null, "command": []}',
    b'{"title": "T", "caption": "", "command": "ls"}', b'{"title": "T", "caption": "", "command": [1]}', b'{"caption": ""}',
    b"[" * 100_000])
def test_what_says_something_else_is_no_figure(tmp_path: Path, text: bytes) -> None:
    assert read(png(tmp_path / "f.png", b"viewmill", text)) is None


def test_pictures_that_say_nothing_and_broken_files_are_no_figures(tmp_path: Path) -> None:
    picture().save(tmp_path / "plain.png")
    picture().save(tmp_path / "photo.jpg")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("viewmill")
    whole = save(picture(), tmp_path / "f.png", title="T", caption="", command=[]).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:30])
    other = png(tmp_path / "other.png", b"Title", b'{"title": "T", "caption": "", "command": []}')
    for path in (*(tmp_path / f"{name}" for name in ("plain.png", "photo.jpg", "empty.png", "text.png", "cut.png", "none.png")),
                 tmp_path, other):
        assert read(path) is None, path


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(picture(), tmp_path / "f.png", title="first", caption="", command=[])
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        save(picture(), path, title="second", caption="", command=[])
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["f.png"]


def test_other_suffixes_and_no_title_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"out=.*f\.jpg: figures are PNG files; let the name end in \.png"):
        save(picture(), tmp_path / "f.jpg", title="T", caption="", command=[])
    with pytest.raises(ValueError, match="a figure needs a title"):
        save(picture(), tmp_path / "f.png", title="", caption="", command=[])
    assert list(tmp_path.iterdir()) == []
