"""Where the images of a tar shard lie: offsets, sizes, image dimensions, labels and names; made once, then cached.

Members are grouped as WebDataset does: neighbours with the same path up to the first dot of the file name are one sample.
The image is the first member with an image's extension; the label an integer in `.cls`, or "label" or "cls" in `.json`.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from .cache import cache_folder, write_whole
from .faults import DataError
from .image_header import size_by_parts
from .tar import Member, members

INDEX_VERSION = 1
EXTENSIONS = frozenset(["jpg", "jpeg", "jpe", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm"])
RECORD = np.dtype([("offset", "<i8"), ("size", "<i8"), ("height", "<i4"), ("width", "<i4"), ("label", "<i8"),
                   ("name_end", "<i8")])

_CLS_BYTES, _JSON_BYTES = 64, 1 << 20
_GROUP = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)", re.DOTALL)
_LABEL = re.compile(r"\s*\+?(\d{1,18})\s*", re.ASCII)


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """Samples of one tar. records (n,) RECORD: height and width are 0 where the header cannot be read, label -1 where
    there is none; names: all members' names in UTF-8 without a break, record i's ending at name_end.
    digest: changes with names, sizes, dimensions and labels, but not with where the tar lies. stored: in the cache."""

    records: np.ndarray
    names: bytes
    digest: str
    stored: bool = False

    def __len__(self) -> int:
        return len(self.records)

    def place(self, row: int) -> tuple[int, int]:
        """Where the image's bytes begin in the tar, and how many there are."""
        return self.records.item(row)[:2]

    def label(self, row: int) -> int:
        return self.records.item(row)[4]

    def name(self, row: int) -> str:
        start = self.records.item(row - 1)[5] if row else 0
        return self.names[start:self.records.item(row)[5]].decode("utf-8", "backslashreplace")

    def key(self, row: int) -> str:
        return key_of(self.name(row))

    def keys(self) -> Iterator[str]:
        return (self.key(row) for row in range(len(self)))


def key_of(name: str) -> str:
    """The path up to the first dot of the file name."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def load_index(path: Path) -> ShardIndex:
    """The index of a tar, from the cache if that knows this very file (path, size, time of change), else made now and
    cached where the cache can be written. Raises DataError for a file that is missing, cut short, or not a tar."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    about = f"{INDEX_VERSION}\n{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    cached = _cache_file(path)
    found = _read_cached(cached, about)
    if found is not None:
        return found
    made = build_index(path)
    stored = write_whole(cached, _packed(made, about))
    return ShardIndex(made.records, made.names, made.digest, stored)


def forget(path: Path) -> None:
    """Remove a tar's index from the cache, for a tar that is about to go."""
    _cache_file(path).unlink(missing_ok=True)


def build_index(path: Path) -> ShardIndex:
    """Read a tar's headers, the first bytes of each image, and labels. Raises DataError as load_index does."""
    rows, names, end = [], [], 0
    found = members(path)
    with path.open("rb") as file:
        handle = file.fileno()
        for group in groups(found):
            image = next((m for ext, m in group.items() if ext in EXTENSIONS), None)
            if image is not None:
                name = image.name.encode("utf-8", "backslashreplace")
                end += len(name)
                names.append(name)
                rows.append((image.offset, image.size, *_dimensions(handle, image), _label(handle, group), end))
    records = np.array(rows, RECORD)
    digest = blake2b(b"".join(names), digest_size=16)
    for field in ("size", "height", "width", "label", "name_end"):
        digest.update(np.ascontiguousarray(records[field]).tobytes())
    return ShardIndex(records, b"".join(names), digest.hexdigest())


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


def _label(handle: int, group: dict[str, Member]) -> int:
    """A whole number >= 0, or -1."""
    cls = group.get("cls")
    if cls is not None and cls.size <= _CLS_BYTES:
        match = _LABEL.fullmatch(os.pread(handle, cls.size, cls.offset).decode("ascii", "replace"))
        if match:
            return int(match[1])
    about = group.get("json")
    if about is not None and about.size <= _JSON_BYTES:
        try:
            return label_in(json.loads(os.pread(handle, about.size, about.offset)))
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


def _cache_file(path: Path) -> Path:
    """One file a path, so that the index of a changed tar takes the old one's place."""
    name = blake2b(os.fsencode(path.resolve()), digest_size=16).hexdigest()
    return cache_folder() / "index" / f"{name}.npz"


def _packed(index: ShardIndex, about: str) -> bytes:
    file = io.BytesIO()
    np.savez(file, records=index.records, names=np.frombuffer(index.names, np.uint8),
             about=np.frombuffer(f"{index.digest}\n{about}".encode("utf-8", "surrogateescape"), np.uint8))
    return file.getvalue()


def _read_cached(path: Path, about: str) -> ShardIndex | None:
    """None where there is no index of this file, or anything is wrong with it: it is then made again."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            digest, _, same = arrays["about"].tobytes().decode("utf-8", "surrogateescape").partition("\n")
            if same != about:
                return None
            records, names = arrays["records"], arrays["names"].tobytes()
        if records.dtype != RECORD or (len(records) and int(records["name_end"][-1]) != len(names)):
            return None
        return ShardIndex(records, names, digest, stored=True)
    except Exception:  # a damaged zip raises many things; none of them matters
        return None
