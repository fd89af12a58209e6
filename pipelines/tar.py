"""The members of a local tar, by their headers alone: nothing is extracted.

Plain files with the names and sizes of ustar, GNU and PAX headers are read here, in a third of the time that tarfile takes;
a tar with anything rarer (sparse files, global PAX headers) is left to tarfile.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .faults import DataError

BLOCK = 512
FILE, FOLDER, LINKS, LONG = b"0\0" + b"7", b"5", b"12346", b"LKx"
"""Kinds of members: regular, a folder, without data, and a name or PAX records that belong to the next."""

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
    except Rare:
        return _by_tarfile(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): check the path and its permissions") from error


class Rare(Exception):
    """Something in a header that tarfile knows better."""


def _read(path: Path, handle: int, end: int) -> Iterator[Member]:
    at, name, size = 0, None, None
    while True:
        header = os.pread(handle, BLOCK, at)
        if len(header) < BLOCK:
            raise _not_a_tar(path, header) if at == 0 else _cut(path, at, end)
        if header.count(0) == BLOCK:
            return
        if not sum_is_right(header):
            raise _not_a_tar(path, header) if at == 0 else DataError(
                f"{path}: damaged at offset {at}, where a tar header should be: {_AGAIN}")
        kind, length = header[156:157], number_in(header[124:136])
        if kind in LONG:
            data = os.pread(handle, length, at + BLOCK)
            if len(data) < length:
                raise _cut(path, at, end)
            if kind == b"L":
                name = text_in(data)
            elif kind == b"x":
                name, size = pax_in(data, name)
            at += BLOCK + padded(length)
            continue
        if size is not None:
            length = size
        if kind in FILE:
            if at + BLOCK + length > end:
                raise _cut(path, at, end)
            yield Member(name if name is not None else name_in(header), at + BLOCK, length)
        elif kind in LINKS:
            length = 0
        elif kind not in FOLDER:
            raise Rare
        at, name, size = at + BLOCK + padded(length), None, None


def _by_tarfile(path: Path) -> list[Member]:
    try:
        with tarfile.open(path, "r:") as tar:
            found = [Member(m.name, m.offset_data, 0 if m.issparse() else m.size) for m in tar if m.isreg()]
            end = tar.offset
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as a tar ({error}): {_AGAIN}") from error
    length = path.stat().st_size
    cut = [m for m in found if m.offset + m.size > length]
    if cut or end > length:
        raise _cut(path, cut[0].offset - BLOCK if cut else length, length)
    return found


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
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise Rare from None


def name_in(header: bytes) -> str:
    """Of the member that the header begins, where no long name went before it."""
    name = text_in(header[:100])
    prefix = text_in(header[345:500]) if header[257:263] == b"ustar\0" else ""  # GNU keeps times there
    return f"{prefix}/{name}" if prefix else name


def pax_in(data: bytes, name: str | None) -> tuple[str | None, int | None]:
    """Records "length key=value\\n"; of them only path and size matter here. Raises Rare."""
    size, at = None, 0
    while at < len(data) and data[at] != 0:
        digits, _, _ = data[at:at + 20].partition(b" ")
        if not digits.isdigit() or int(digits) <= len(digits):
            raise Rare
        key, _, value = data[at + len(digits) + 1:at + int(digits) - 1].partition(b"=")
        if key.startswith(b"GNU.sparse"):
            raise Rare
        if key == b"path":
            name = text_in(value)
        elif key == b"size":
            if not value.isdigit():
                raise Rare
            size = int(value)
        at += int(digits)
    return name, size


def text_in(field: bytes) -> str:
    """Up to the first zero byte."""
    return field.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def padded(length: int) -> int:
    """To whole blocks."""
    return -(-length // BLOCK) * BLOCK
