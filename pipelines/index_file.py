"""The index of a shard as a file: beside its tar, where a packer wrote it, or in the user's cache, made on first use."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np

from .cache import cache_folder, write_whole
from .faults import DataError
from .index import RECORD, ShardIndex, build_index
from .sealed import Buffer, seal, unseal

INDEX_SUFFIX = ".index"
"""train-0000.tar.index lies beside train-0000.tar."""

_KIND, _VERSION = "index", 2


@dataclass(frozen=True)
class ShardFacts:
    """Of the tar that an index is of. tar_bytes: its length; sha256: of all of it, in hex, "" where it was not computed."""

    tar_bytes: int
    sha256: str = ""


def index_bytes(index: ShardIndex, facts: ShardFacts, about: str = "") -> bytes:
    """The file. about: what else must be equal for it to be used again."""
    header = {"version": _VERSION, "digest": index.digest, "checksums": index.checksums, "tar_bytes": facts.tar_bytes,
              "sha256": facts.sha256, "about": about}
    return seal(_KIND, header, {"records": index.records, "names": np.frombuffer(index.names, np.uint8)})


def read_index(buffer: Buffer, trusted: bool = False) -> tuple[ShardIndex, ShardFacts]:
    """The reverse; the arrays are views of buffer. trusted: its checksum has been looked at before. Raises ValueError."""
    index, facts, _ = _read(buffer, trusted)
    return index, facts


def _read(buffer: Buffer, trusted: bool) -> tuple[ShardIndex, ShardFacts, str]:
    header, arrays = unseal(_KIND, buffer, trusted)
    if header.get("version") != _VERSION:
        raise ValueError(f"an index of version {header.get('version')!r}, not {_VERSION}")
    try:
        records, names = arrays["records"], arrays["names"]
        digest, checksums, sha256, about = (header[name] for name in ("digest", "checksums", "sha256", "about"))
        tar_bytes = int(header["tar_bytes"])
    except (KeyError, TypeError, ValueError):
        raise ValueError("damaged: an index that lacks something") from None
    if records.dtype != RECORD or names.dtype != np.uint8 or (int(records["name_end"][-1]) if len(records) else 0) != len(names):
        raise ValueError("damaged: an index whose records do not fit its names")
    index = ShardIndex(records, names.data, str(digest), bool(checksums), stored=True)
    return index, ShardFacts(tar_bytes, str(sha256)), str(about)


def read_index_file(path: str | Path, trusted: bool = False) -> tuple[ShardIndex, ShardFacts]:
    """Of a file, through a memory map, of which only what is used takes memory. Raises OSError and ValueError."""
    index, facts, _ = _read_file(path, trusted)
    return index, facts


def _read_file(path: str | Path, trusted: bool) -> tuple[ShardIndex, ShardFacts, str]:
    with open(path, "rb") as file:
        if not trusted:  # by reading, not through the map: what was checked need not stay in memory
            _read(file.read(), trusted=False)
        return _read(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), trusted=True)


def load_index(path: str | Path, trusted: bool = False) -> ShardIndex:
    """The index of a local tar: the one beside it, if it is of a tar of this length; else from the cache, if that knows this very
    file (path, size, time of change); else made now, and cached where the cache can be written. trusted: it has been loaded
    before. Raises DataError for a file that is missing, cut short, or not a tar."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    found = beside(path, status.st_size, trusted)
    if found is not None:
        return found[0]
    about = f"{os.path.realpath(path)}\n{status.st_size}\n{status.st_mtime_ns}"
    cached = cache_file(path)
    try:
        index, _, same = _read_file(cached, trusted)
        if same == about:
            return index
    except (OSError, ValueError):
        pass
    made = build_index(Path(path))
    return replace(made, stored=write_whole(cached, index_bytes(made, ShardFacts(status.st_size), about)))


def beside(path: str | Path, tar_bytes: int, trusted: bool = False) -> tuple[ShardIndex, ShardFacts] | None:
    """The index that lies beside a tar; None where there is none, or not of a tar of that length, or it cannot be used."""
    try:
        index, facts = read_index_file(f"{path}{INDEX_SUFFIX}", trusted)
    except (OSError, ValueError):
        return None
    return (index, facts) if facts.tar_bytes == tar_bytes else None


def forget(path: str | Path) -> None:
    """Remove a tar's index from the cache, for a tar that is about to go."""
    cache_file(path).unlink(missing_ok=True)


def cache_file(path: str | Path) -> Path:
    """One file a path, so that the index of a changed tar takes the old one's place."""
    name = blake2b(os.fsencode(os.path.realpath(path)), digest_size=16).hexdigest()
    return cache_folder() / "index" / f"{name}{INDEX_SUFFIX}"
