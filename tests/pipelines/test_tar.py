"""Members of a tar: as tarfile finds them, whatever wrote it; and one line for what is not whole."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.tar import BLOCK, members

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


def test_global_headers_are_passed_over(tmp_path: Path) -> None:
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
    with pytest.raises(DataError, match=r"x\.tar: damaged at offset 0, where a tar header should be: .*again"):
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


def headed(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """A ustar header written by hand; size: the twelve bytes of that field."""
    header = bytearray(BLOCK)
    header[:len(name)], header[124:136], header[156:157], header[257:263] = name, size.ljust(12, b"\0"), kind, b"ustar\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize("kind", [b"0", b"x", b"L", b"g", b"S"])
@pytest.mark.parametrize("size", [b"-0000001000", b"-00000000001", b"1_000", b"0x10", b"many bytes.", b"0000000009"])
def test_a_size_that_is_no_number_or_leads_backwards_is_damage(tmp_path: Path, kind: bytes, size: bytes) -> None:
    """-1000 (octal) is a block backwards: the same header again, without end."""
    (tmp_path / "x.tar").write_bytes(headed(b"a.jpg", b"0" * 11) + headed(b"b.jpg", size, kind) + bytes(4096))
    with pytest.raises(DataError, match=r"x\.tar: damaged at offset 512, .*again"):
        members(tmp_path / "x.tar")


@pytest.mark.parametrize("kind", [b"0", b"7", b"x", b"L", b"K", b"g", b"S", b"D"])
@pytest.mark.parametrize("size", [b"77777777777", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"\x80" + bytes(4) + b"\x7f" * 7])
def test_a_size_beyond_the_file_takes_no_memory(tmp_path: Path, kind: bytes, size: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(headed(b"b.jpg", size, kind) + bytes(4096))
    with pytest.raises(DataError, match=r"the tar is cut short: .*offset 0,"):
        members(tmp_path / "x.tar")


@pytest.mark.parametrize("records", [b"99999999999999999999 path=a.jpg\n", b"50 path=a.jpg\n", b"0 path=a\n", b"-5 path=a\n",
                                     b"path=a\n", b"11 size=-3\n", b"12 size=1e9\n"])
def test_records_that_do_not_fit_are_damage(tmp_path: Path, records: bytes) -> None:
    data = headed(b"pax", b"%011o" % len(records), b"x") + records.ljust(BLOCK, b"\0") + headed(b"a.jpg", b"0") + bytes(1024)
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"damaged at offset 0, where a tar header should be: .*again"):
        members(tmp_path / "x.tar")


def test_a_size_in_records_beyond_the_file(tmp_path: Path) -> None:
    record = b"29 size=99999999999999999999\n"
    data = headed(b"pax", b"%011o" % len(record), b"x") + record.ljust(BLOCK, b"\0") + headed(b"a.jpg", b"0") + bytes(1024)
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(DataError, match="cut short"):
        members(tmp_path / "x.tar")


@pytest.mark.parametrize("kind", [b"x", b"L"])
def test_a_name_of_megabytes_is_damage(tmp_path: Path, kind: bytes) -> None:
    data = headed(b"n", b"%011o" % (2 << 20), kind) + b"n" * (2 << 20) + headed(b"a", b"0") + bytes(1024)
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(DataError, match="damaged at offset 0"):
        members(tmp_path / "x.tar")


def test_a_header_lost_to_zeros_is_not_taken_for_the_end(tmp_path: Path) -> None:
    data = bytearray(write_tar(tmp_path / "x.tar", [("a.jpg", b"1" * 700), ("b.jpg", b"2" * 700)]).read_bytes())
    data[1536:2048] = bytes(512)
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"its end mark at offset 1536 is followed by more data: .*again"):
        members(tmp_path / "x.tar")


def test_sparse_files_of_records_and_their_extended_headers(tmp_path: Path) -> None:
    """As GNU tar writes them: the name in a record; and, in the old form, a block that goes on listing parts."""
    records = b"22 GNU.sparse.major=1\n" + b"25 GNU.sparse.name=s.jpg\n"
    new = headed(b"pax", b"%011o" % len(records), b"x") + records.ljust(BLOCK, b"\0")
    new += headed(b"GNUSparseFile.0/s.jpg", b"%011o" % 600) + bytes(1024)
    old = bytearray(headed(b"o.jpg", b"%011o" % 5, b"S"))
    old[482] = 1
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old)
    old += bytes(BLOCK) + b"hello".ljust(BLOCK, b"\0")
    (tmp_path / "x.tar").write_bytes(new + old + headed(b"a.jpg", b"%011o" % 3) + b"abc".ljust(BLOCK, b"\0") + bytes(1024))
    found = members(tmp_path / "x.tar")
    assert [(m.name, m.size) for m in found] == [("s.jpg", 0), ("o.jpg", 0), ("a.jpg", 3)]
    assert (tmp_path / "x.tar").read_bytes()[found[2].offset:][:3] == b"abc"


def test_kinds_that_nobody_knows_are_passed_over(tmp_path: Path) -> None:
    data = headed(b"v", b"%011o" % 600, b"V") + b"1" * 1024 + headed(b"a.jpg", b"%011o" % 3) + b"abc".ljust(BLOCK, b"\0")
    (tmp_path / "x.tar").write_bytes(data + bytes(1024))
    assert [(m.name, m.offset) for m in members(tmp_path / "x.tar")] == [("a.jpg", 2048)]


def test_members_before_a_damage_can_be_had_with_what_it_is(tmp_path: Path) -> None:
    from viewmill.pipelines.tar import whole_members

    path = write_tar(tmp_path / "x.tar", [("a.txt", b"x" * 600), ("b.txt", b"y" * 600), ("c.txt", b"z")])
    whole, damage = whole_members(path)
    assert [each.name for each in whole] == ["a.txt", "b.txt", "c.txt"] and damage is None
    path.write_bytes(path.read_bytes()[:512 + 1024 + 512 + 300])  # inside b
    whole, damage = whole_members(path)
    assert [each.name for each in whole] == ["a.txt"] and "cut short" in str(damage)
    whole, damage = whole_members(tmp_path / "missing.tar")
    assert whole == [] and "cannot be read" in str(damage)
