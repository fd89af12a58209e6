"""The members of a local tar, by their headers alone: nothing is extracted.

Names and sizes of ustar, GNU and PAX headers are read here, in a third of the time that tarfile takes, and no number in a header
is believed: none leads backwards, out of the file, or to memory that the file does not fill. Sparse files count as empty, since
their bytes do not lie together; folders, links, devices and global PAX headers are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .faults import DataError

BLOCK = 512
FILE, FOLDER, LINKS, LONG, SPARSE = b"0\0" + b"7", b"5", b"12346", b"LKxg", b"S"
"""Kinds of members: regular, a folder, without data, a name or PAX records of the next (or of all), and GNU's sparse."""

LONGEST = 1 << 20
"""Bytes of a name or of PAX records; what says that it has more is damaged."""

_AGAIN = "copy or download it again, or make it again with all samples"


class Member(NamedTuple):
    """A file inside a tar: name, where its bytes begin, how many there are."""

    name: str
    offset: int
    size: int


def members(path: Path) -> list[Member]:
    """All regular files, in order. Raises DataError for a file that is cut short or not a tar."""
    try:
        with path.open("rb") as file:
            return list(_read(path, file.fileno(), os.fstat(file.fileno()).st_size))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): check the path and its permissions") from error


def whole_members(path: Path) -> tuple[list[Member], DataError | None]:
    """All regular files before a damage, and what the damage is; None where there is none. Never raises."""
    found: list[Member] = []
    try:
        with path.open("rb") as file:
            found.extend(_read(path, file.fileno(), os.fstat(file.fileno()).st_size))  # keeps what came before an error
        return found, None
    except DataError as error:
        return found, error
    except OSError as error:
        return [], DataError(f"{path}: cannot be read ({error.strerror}): check the path and its permissions")


class Rare(Exception):
    """A header that says nothing usable: a number that is none, records that do not fit, or a sparse file."""


def _read(path: Path, handle: int, end: int) -> Iterator[Member]:
    at = 0
    said = _Said()
    while True:
        header = os.pread(handle, BLOCK, at)
        if len(header) < BLOCK:
            raise _not_a_tar(path, header) if at == 0 else _cut(path, at, end)
        if header.count(0) == BLOCK:
            _check_rest(path, handle, at)
            return
        if not sum_is_right(header):
            raise _not_a_tar(path, header) if at == 0 else _damaged(path, at)
        kind, data_at = header[156:157], at + BLOCK
        try:
            length = number_in(header[124:136])
            if kind in LONG:
                if data_at + length > end:
                    raise _cut(path, at, end)
                if length > LONGEST:
                    raise Rare
                data = os.pread(handle, length, data_at)
                if kind == b"L":
                    said = said._replace(name=text_in(data))
                elif kind == b"x":
                    said = _records(data, said)
                at = data_at + padded(length)
                continue
        except Rare:
            raise _damaged(path, at) from None
        length = length if said.size is None else said.size
        more = kind == SPARSE and header[482] != 0
        while more:  # blocks that say where a sparse file's parts lie
            block = os.pread(handle, BLOCK, data_at)
            data_at += BLOCK
            more = len(block) == BLOCK and block[504] != 0
        if kind in LINKS or kind in FOLDER:
            length = 0
        elif data_at + length > end:
            raise _cut(path, at, end)
        elif kind in FILE or kind == SPARSE:
            yield Member(said.name if said.name is not None else name_in(header), data_at,
                         0 if said.sparse or kind == SPARSE else length)
        at, said = data_at + padded(length), _Said()


def _check_rest(path: Path, handle: int, at: int) -> None:
    """Zeros only follow a tar's end: anything else is the rest of a shard, of which a header has been lost."""
    begin = at
    while block := os.pread(handle, 1 << 16, at):
        if block.count(0) != len(block):
            raise DataError(f"{path}: its end mark at offset {begin} is followed by more data: a damaged shard, or several tars "
                            f"in one file: {_AGAIN}")
        at += len(block)


class _Said(NamedTuple):
    """What headers said of the member behind them."""

    name: str | None = None
    size: int | None = None
    sparse: bool = False


def _damaged(path: Path, at: int) -> DataError:
    return DataError(f"{path}: damaged at offset {at}, where a tar header should be: {_AGAIN}")


def _cut(path: Path, at: int, end: int) -> DataError:
    return DataError(f"{path}: the tar is cut short: the file ends at {end} bytes, inside or right after the member at offset "
                     f"{at}, without a tar's end mark: {_AGAIN}")


def _not_a_tar(path: Path, start: bytes) -> DataError:
    if not start:
        return DataError(f"{path}: empty, 0 bytes: {_AGAIN}")
    if start[:2] == b"\x1f\x8b" or start[:4] == b"\x28\xb5\x2f\xfd" or start[:3] == b"BZh" or start[:5] == b"\xfd7zXZ":
        return DataError(f"{path}: a compressed tar, which cannot be read by offset: decompress it once")
    return DataError(f"{path}: not a tar: give tar shards, or a folder of images as the folder itself")


def sum_is_right(header: bytes) -> bool:
    """The sum of all bytes, its own field counted as blanks."""
    digits = header[148:156].strip(b" \0")
    try:
        return sum(header) - sum(header[148:156]) + 8 * 0x20 == int(digits, 8)
    except ValueError:
        return False


def number_in(field: bytes) -> int:
    """Octal digits, or base 256 where the first bit is set (GNU, for 8 GiB and more). Raises Rare."""
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
    digits = field.strip(b" \0") or b"0"
    if not digits.isdigit():  # "-1000" is a number for Python: it would lead back to where this header begins, for ever
        raise Rare
    try:
        return int(digits, 8)
    except ValueError:
        raise Rare from None


def name_in(header: bytes) -> str:
    """Of the member that the header begins, where no long name went before it."""
    name = text_in(header[:100])
    prefix = text_in(header[345:500]) if header[257:263] == b"ustar\0" else ""  # GNU keeps times there
    return f"{prefix}/{name}" if prefix else name


def pax_in(data: bytes, name: str | None) -> tuple[str | None, int | None]:
    """Records "length key=value\\n"; of them only path and size matter here. Raises Rare, also for a sparse file."""
    said = _records(data, _Said(name))
    if said.sparse:
        raise Rare
    return said.name, said.size


def _records(data: bytes, said: _Said) -> _Said:
    at = 0
    while at < len(data) and data[at] != 0:
        digits, _, _ = data[at:at + 20].partition(b" ")
        if not digits.isdigit() or not len(digits) < int(digits) <= len(data) - at:
            raise Rare
        key, _, value = data[at + len(digits) + 1:at + int(digits) - 1].partition(b"=")
        if key.startswith(b"GNU.sparse"):
            said = said._replace(sparse=True)
        if key in (b"path", b"GNU.sparse.name"):
            said = said._replace(name=text_in(value))
        elif key == b"size":
            if not value.isdigit():
                raise Rare
            said = said._replace(size=int(value))
        at += int(digits)
    return said


def text_in(field: bytes) -> str:
    """Up to the first zero byte."""
    return field.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def padded(length: int) -> int:
    """To whole blocks."""
    return -(-length // BLOCK) * BLOCK
