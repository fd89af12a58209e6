"""Members of a tar: as tarfile finds them, whatever wrote it; and one line for what is not whole."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.tar import members

from .shards import write_tar

PREFIXED = "p" * 80 + "/" + "q" * 80 + ".jpg"  # ustar splits it in two fields
LONG = "a-folder-with-a-long-name/" * 6 + "n" * 120 + ".jpg"
FILES = [("a.jpg", b"1" * 700), (PREFIXED, b"2"), ("folder/b.jpg", b""), (LONG, b"3" * 512), ("ünïcode.jpg", b"4"),
         ("a" * 100, b"5"),
         ("../up.jpg", b"6" * 513)]


def by_tarfile(path: Path) -> list[tuple[str, int, int]]:
    with tarfile.open(path, "r:") as tar:
        return [(m.name, m.offset_data, m.size) for m in tar if m.isreg()]


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_layout_reads_as_tarfile_does(tmp_path: Path, layout: int) -> None:
    files = [f for f in FILES if layout != tarfile.USTAR_FORMAT or f[0] != LONG]
    for name, more in (("plain.tar", {}), ("owned.tar", {"uid": 5, "uname": "someone", "mtime": 1700000000})):
        path = write_tar(tmp_path / name, files, layout, **more)
        found = members(path)
        assert [tuple(m) for m in found] == by_tarfile(path)
        assert [path.read_bytes()[m.offset:m.offset + m.size] for m in found] == [data for _, data in files]


def test_times_with_fractions_that_webdataset_writes(tmp_path: Path) -> None:
    """They take a PAX header before every member."""
    path = write_tar(tmp_path / "x.tar", FILES, tarfile.PAX_FORMAT, mtime=1700000000.25)
    assert path.stat().st_size > 512 * 3 * len(FILES)
    assert [tuple(m) for m in members(path)] == by_tarfile(path)


def test_only_regular_files_count(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, kind in (("folder", tarfile.DIRTYPE), ("link.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE),
                           ("pipe.jpg", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        info = tarfile.TarInfo("b.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    assert [(m.name, m.size) for m in members(tmp_path / "x.tar")] == [("b.jpg", 3)]


def test_rare_headers_are_left_to_tarfile(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "global"}) as tar:
        info = tarfile.TarInfo("b.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    assert [tuple(m) for m in members(tmp_path / "x.tar")] == by_tarfile(tmp_path / "x.tar") != []


def test_a_sparse_file_cannot_be_read_by_offset_and_counts_as_empty(tmp_path: Path) -> None:
    """GNU's old sparse header, written by hand: type S, one extent of 5 bytes at 0, and a real size of 4096."""
    info = tarfile.TarInfo("s.jpg")
    info.size = 5
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386:410] = b"00000000000\0" + b"00000000005\0"
    header[483:495] = b"00000010000\0"
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "x.tar").write_bytes(bytes(header) + b"hello".ljust(512, b"\0") + bytes(1024))
    with tarfile.open(tmp_path / "x.tar") as tar:
        assert tar.next().issparse()  # type: ignore[union-attr]
    assert [(m.name, m.size) for m in members(tmp_path / "x.tar")] == [("s.jpg", 0)]


def test_a_tar_cut_short_names_the_member_and_the_way_out(tmp_path: Path) -> None:
    """Two files of 700 bytes: headers at 0 and 1536, the end mark from 3072 on."""
    whole = write_tar(tmp_path / "whole.tar", [("a.jpg", b"1" * 700), ("b.jpg", b"2" * 700)]).read_bytes()
    cut = tmp_path / "cut.tar"
    for length, offset in ((600, 0), (1536, 1536), (1700, 1536), (2048 + 699, 1536), (2048 + 701, 3072), (3072, 3072)):
        cut.write_bytes(whole[:length])
        with pytest.raises(DataError) as error:
            members(cut)
        text = str(error.value)
        assert "\n" not in text and str(cut) in text and "again" in text
        assert f"ends at {length} bytes" in text and f"offset {offset}," in text


def test_a_damaged_header_is_named(tmp_path: Path) -> None:
    data = bytearray(write_tar(tmp_path / "x.tar", [("a.jpg", b"1" * 700), ("b.jpg", b"2" * 700)]).read_bytes())
    data[1536 + 3] ^= 1
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.tar: damaged at offset 1536, where a tar header should be: .*again"):
        members(tmp_path / "x.tar")


def test_a_header_that_adds_up_but_says_nonsense(tmp_path: Path) -> None:
    data = bytearray(write_tar(tmp_path / "x.tar", [("a.jpg", b"1" * 700)]).read_bytes())
    data[124:136] = b"many bytes.\0"
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data[:512])
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.tar: cannot be read as a tar \(.*\): .*again"):
        members(tmp_path / "x.tar")


@pytest.mark.parametrize(("data", "message"), [
    (b"", "empty, 0 bytes"),
    (gzip.compress(b"x" * 9000), "a compressed tar, which cannot be read by offset: decompress it once"),
    (b"%PDF-1.4" * 900, "not a tar: give tar shards"),
    (b"short", "not a tar: give tar shards"),
])
def test_what_is_not_a_tar(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        members(path)


def test_an_empty_tar_is_a_tar(tmp_path: Path) -> None:
    assert members(write_tar(tmp_path / "x.tar", [])) == []


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.tar: cannot be read \(No such file or directory\): check the path"):
        members(tmp_path / "none.tar")


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_flipped_bits_give_an_error_of_one_line_or_members_inside_the_file(tmp_path: Path, layout: int) -> None:
    whole = write_tar(tmp_path / "x.tar", FILES if layout != tarfile.USTAR_FORMAT else FILES[:2], layout).read_bytes()
    rng = np.random.default_rng(layout)
    for _ in range(150):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            data[at] ^= 1 << rng.integers(8)
        (tmp_path / "x.tar").write_bytes(data)
        try:
            found = members(tmp_path / "x.tar")
        except DataError as error:
            assert "\n" not in str(error)
        else:
            assert all(0 <= m.offset <= m.offset + m.size <= len(data) for m in found)
