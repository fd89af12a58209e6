"""Where the images of a tar shard lie: offsets, sizes, image dimensions, labels, names, and checksums where a packer made them.

Members are grouped as WebDataset does: neighbours with the same path up to the first dot of the file name are one sample.
The image is the first member with an image's extension; the label an integer in `.cls`, or "label" or "cls" in `.json`.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from .image_header import size_by_parts
from .tar import Member, members

EXTENSIONS = frozenset(["jpg", "jpeg", "jpe", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm"])
RECORD = np.dtype([("offset", "<i8"), ("size", "<i8"), ("height", "<i4"), ("width", "<i4"), ("label", "<i8"),
                   ("name_end", "<i8"), ("crc32", "<u4")])

CLS_BYTES, JSON_BYTES = 64, 1 << 20
"""Longer files hold no label."""

_AT_ONCE = 1 << 20
_GROUP = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)", re.DOTALL)
_LABEL = re.compile(r"\s*\+?(\d{1,18})\s*", re.ASCII)


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """Samples of one tar. records (n,) RECORD: height and width are 0 where the header cannot be read, label -1 where
    there is none; names: all members' names in UTF-8 without a break, record i's ending at name_end.
    digest: changes with names, sizes, dimensions and labels, but not with where the tar lies. checksums: the records have
    them, of each image's bytes. stored: in a file that can be read again."""

    records: np.ndarray
    names: bytes | memoryview
    digest: str
    checksums: bool = False
    stored: bool = False

    def __len__(self) -> int:
        return len(self.records)

    def place(self, row: int) -> tuple[int, int]:
        """Where the image's bytes begin in the tar, and how many there are."""
        return self.records.item(row)[:2]

    def label(self, row: int) -> int:
        return self.records.item(row)[4]

    def is_whole(self, row: int, data: bytes) -> bool:
        """Whether these are the bytes that were packed; True where no checksum is known."""
        return not self.checksums or zlib.crc32(data) == self.records.item(row)[6]

    def name(self, row: int) -> str:
        start = self.records.item(row - 1)[5] if row else 0
        return bytes(self.names[start:self.records.item(row)[5]]).decode("utf-8", "backslashreplace")

    def key(self, row: int) -> str:
        return key_of(self.name(row))

    def keys(self) -> Iterator[str]:
        return (self.key(row) for row in range(len(self)))


def key_of(name: str) -> str:
    """The path up to the first dot of the file name."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def build_index(path: Path, checksums: bool = False) -> ShardIndex:
    """Read a tar's headers, the first bytes of each image, and labels; for checksums, all bytes of the images. Raises DataError
    for a file that is missing, cut short, or not a tar."""
    return index_of(path, members(path), checksums)


def index_of(path: Path, found: list[Member], checksums: bool = False) -> ShardIndex:
    """The index of those members of a tar. Raises OSError."""
    with path.open("rb") as file:
        handle = file.fileno()
        return assemble(((image, *_dimensions(handle, image), _label(handle, group), _checksum(handle, image) if checksums else 0)
                         for image, group in samples(found)), checksums)


def samples(found: list[Member]) -> Iterator[tuple[Member, dict[str, Member]]]:
    """Groups that have an image: the first of them, and the group."""
    for group in groups(found):
        image = next((m for ext, m in group.items() if ext in EXTENSIONS), None)
        if image is not None:
            yield image, group


def assemble(found: Iterable[tuple[Member, int, int, int, int]], checksums: bool = False) -> ShardIndex:
    """The index of samples, in order: image, its height, width and label, and its checksum or 0."""
    rows, names, end = [], [], 0
    for image, height, width, label, checksum in found:
        name = image.name.encode("utf-8", "backslashreplace")
        end += len(name)
        names.append(name)
        rows.append((image.offset, image.size, height, width, label, end, checksum))
    records = np.array(rows, RECORD)
    digest = blake2b(b"".join(names), digest_size=16)
    for field in ("size", "height", "width", "label", "name_end"):
        digest.update(np.ascontiguousarray(records[field]).tobytes())
    return ShardIndex(records, b"".join(names), digest.hexdigest(), checksums)


def groups(found: list[Member]) -> Iterator[dict[str, Member]]:
    """Samples, as members by lower-case extension. A second file with a sample's key and extension begins another sample.
    Hidden files (macOS leaves some in tars), and files without extension, belong to none."""
    current, group = "", dict[str, Member]()
    for member in found:
        match = _GROUP.fullmatch(member.name)
        if match is None:
            continue
        key, extension = match[1], match[2].lower()
        if key != current or extension in group:
            if group:
                yield group
            current, group = key, {}
        group[extension] = member
    if group:
        yield group


def _dimensions(handle: int, image: Member) -> tuple[int, int]:
    return size_by_parts(lambda most: os.pread(handle, most, image.offset), image.size)


def _checksum(handle: int, image: Member) -> int:
    found, at = 0, 0
    while at < image.size:
        data = os.pread(handle, min(_AT_ONCE, image.size - at), image.offset + at)
        if not data:
            break
        found, at = zlib.crc32(data, found), at + len(data)
    return found


def _label(handle: int, group: dict[str, Member]) -> int:
    return label_of(*(os.pread(handle, member.size, member.offset) if member is not None and member.size <= most else None
                      for member, most in ((group.get("cls"), CLS_BYTES), (group.get("json"), JSON_BYTES))))


def label_of(cls: bytes | None, about: bytes | None) -> int:
    """A whole number >= 0 from a sample's .cls, else from its .json; -1 where neither has one."""
    if cls is not None:
        match = _LABEL.fullmatch(cls.decode("ascii", "replace"))
        if match:
            return int(match[1])
    if about is not None:
        try:
            return label_in(json.loads(about))
        except (ValueError, RecursionError):
            pass
    return -1


def label_in(about: Any) -> int:
    """The label in a sample's JSON: "label", else "cls"; -1 where neither is a whole number >= 0."""
    if isinstance(about, dict):
        for name in ("label", "cls"):
            value = about.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
                return value
    return -1
