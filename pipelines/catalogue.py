"""What is known of all shards of a data set, in one file: opening ten thousand of them is one read.

A packer writes it beside the shards, last, so that its presence says that they are all there. Of local tars without one, the
user's cache keeps what was found when they were opened first.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .cache import write_whole
from .faults import DataError
from .index import ShardIndex, build_index
from .index_file import INDEX_SUFFIX, ShardFacts, index_bytes, read_index_file
from .sealed import Buffer, seal, unseal

CATALOGUE = "shards.catalogue"
"""Its name, beside the shards."""

_KIND, _VERSION = "catalogue", 1
_ENTRY = np.dtype([("samples", "<i8"), ("tar_bytes", "<i8"), ("index_bytes", "<i8"), ("mtime_ns", "<i8"), ("labelled", "?"),
                   ("digest", "V16"), ("sha256", "V32"), ("name_end", "<i8")])


@dataclass(frozen=True)
class ShardEntry:
    """One shard. name: of its tar, below the catalogue's folder (a whole path in the user's cache); index_bytes: of the index
    beside it, 0 where there is none; labelled: some sample has a label; digest: the index's, in hex; sha256: the tar's, in
    hex, "" where it is not known; mtime_ns: when the tar was changed, 0 where that says nothing."""

    name: str
    samples: int
    tar_bytes: int
    index_bytes: int
    labelled: bool
    digest: str
    sha256: str = ""
    mtime_ns: int = 0


class Names(Sequence[str]):
    """Many strings in one piece of memory."""

    def __init__(self, data: bytes | memoryview, ends: np.ndarray) -> None:
        self._data, self._ends = data, ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, i: int) -> str:  # type: ignore[override]
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        i %= len(self)
        start = self._ends.item(i - 1) if i else 0
        return bytes(self._data[start:self._ends.item(i)]).decode("utf-8", "surrogateescape")

    def __reduce__(self) -> tuple[type[Names], tuple[bytes, np.ndarray]]:
        return Names, (bytes(self._data), self._ends)


class Catalogue:
    """Shards in order. names (S): of their tars; shard_sizes (S,) int64: samples; tar_bytes (S,) int64."""

    def __init__(self, table: np.ndarray, names: Names) -> None:
        self._table, self.names = table, names

    @classmethod
    def of(cls, entries: Iterable[ShardEntry]) -> Catalogue:
        entries = list(entries)
        names = [entry.name.encode("utf-8", "surrogateescape") for entry in entries]
        ends = np.cumsum([len(name) for name in names], dtype=np.int64)
        rows = [(e.samples, e.tar_bytes, e.index_bytes, e.mtime_ns, e.labelled, bytes.fromhex(e.digest),
                 bytes.fromhex(e.sha256) or bytes(32), end) for e, end in zip(entries, ends.tolist(), strict=True)]
        return cls(np.array(rows, _ENTRY), Names(b"".join(names), ends))

    @property
    def shard_sizes(self) -> np.ndarray:
        return self._table["samples"]

    @property
    def tar_bytes(self) -> np.ndarray:
        return self._table["tar_bytes"]

    @property
    def index_bytes(self) -> np.ndarray:
        return self._table["index_bytes"]

    @property
    def mtime_ns(self) -> np.ndarray:
        return self._table["mtime_ns"]

    @property
    def labelled(self) -> bool:
        return bool(self._table["labelled"].any())

    @property
    def fingerprint(self) -> str:
        """Of the shards' samples in this order; not of where they lie."""
        digests = self._table["digest"].tobytes().hex()
        return fingerprint([digests[at:at + 32] for at in range(0, len(digests), 32)])

    def __len__(self) -> int:
        return len(self._table)

    def digest(self, shard: int) -> str:
        return bytes(self._table["digest"][shard]).hex()

    def entry(self, shard: int) -> ShardEntry:
        row = self._table[shard]
        sha256 = bytes(row["sha256"])
        return ShardEntry(self.names[shard], int(row["samples"]), int(row["tar_bytes"]), int(row["index_bytes"]),
                          bool(row["labelled"]), bytes(row["digest"]).hex(), sha256.hex() if any(sha256) else "",
                          int(row["mtime_ns"]))

    def select(self, names: Sequence[str]) -> Catalogue:
        """Those shards, in that order. Raises DataError for one that is not there, naming how many."""
        place = {name: shard for shard, name in enumerate(self.names)}
        missing = [name for name in names if name not in place]
        if missing:
            raise DataError(f"{missing[0]}: not in the catalogue, which has {len(self)} shards, from {self.names[0]} to "
                            f"{self.names[-1]} ({len(missing)} of {len(names)} are missing): pack them, or narrow the pattern")
        return self.at([place[name] for name in names])

    def at(self, shards: Sequence[int]) -> Catalogue:
        """The shards of those numbers, in that order."""
        return Catalogue(self._table[list(shards)], self.names).renamed([self.names[i] for i in shards])

    def renamed(self, names: Sequence[str]) -> Catalogue:
        """The same shards under other names (S)."""
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        table = self._table.copy()
        table["name_end"] = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        return Catalogue(table, Names(b"".join(encoded), table["name_end"].copy()))

    def to_bytes(self, about: str = "") -> bytes:
        names = b"".join(name.encode("utf-8", "surrogateescape") for name in self.names)
        return seal(_KIND, {"version": _VERSION, "about": about},
                    {"table": self._table, "names": np.frombuffer(names, np.uint8)})

    @classmethod
    def from_bytes(cls, data: Buffer) -> Catalogue:
        """Raises ValueError for anything that to_bytes did not make."""
        header, arrays = unseal(_KIND, data)
        if header.get("version") != _VERSION:
            raise ValueError(f"a catalogue of version {header.get('version')!r}, not {_VERSION}")
        table, names = arrays.get("table"), arrays.get("names")
        if table is None or names is None or table.dtype != _ENTRY or names.dtype != np.uint8 or (
                int(table["name_end"][-1]) if len(table) else 0) != len(names):
            raise ValueError("damaged: a catalogue whose entries do not fit its names")
        return cls(table, Names(names.tobytes(), table["name_end"].copy()))


def fingerprint(digests: Iterable[str]) -> str:
    """Of a data set whose shards have these digests, in this order."""
    return hashlib.blake2b("\n".join(digests).encode(), digest_size=16).hexdigest()


def seal_shard(path: Path, index: ShardIndex | None = None) -> ShardEntry:
    """Read a finished tar, and write its index, with checksums, beside it. index: where one with checksums is known already.
    Raises DataError for a tar that is damaged, or a folder that cannot be written."""
    found = build_index(path, checksums=True) if index is None else index
    facts = ShardFacts(path.stat().st_size, sha256_of(path))
    data = index_bytes(found, facts)
    if not write_whole(Path(f"{path}{INDEX_SUFFIX}"), data, durable=True):
        raise DataError(f"{path.parent}: cannot be written, so there is no place for {path.name}{INDEX_SUFFIX}: make room, or "
                        "allow it")
    return _entry(path.name, found, facts, len(data))


def entry_of(path: Path) -> ShardEntry | None:
    """From the index beside a tar; None where there is none that fits the tar's length."""
    try:
        file = Path(f"{path}{INDEX_SUFFIX}")
        index, facts = read_index_file(file)
        if facts.tar_bytes == path.stat().st_size:
            return _entry(path.name, index, facts, file.stat().st_size)
    except (OSError, ValueError):
        pass
    return None


def _entry(name: str, index: ShardIndex, facts: ShardFacts, index_bytes: int) -> ShardEntry:
    return ShardEntry(name, len(index), facts.tar_bytes, index_bytes, bool((index.records["label"] >= 0).any()), index.digest,
                      facts.sha256)


def write_catalogue(folder: Path, entries: Iterable[ShardEntry]) -> Path:
    """The catalogue of a folder, in the order given, whole or not there. Raises DataError where it cannot be written."""
    path = folder / CATALOGUE
    if not write_whole(path, Catalogue.of(entries).to_bytes(), durable=True):
        raise DataError(f"{path}: cannot be written: make room, or allow it")
    return path


def read_catalogue(folder: Path) -> Catalogue | None:
    """The catalogue of a folder; None where there is none. Raises DataError for a damaged one."""
    path = folder / CATALOGUE
    try:
        return checked(Catalogue.from_bytes(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be used ({error}): write it again with viewmill pack --index-only, or remove it"
                        ) from error


def checked(catalogue: Catalogue) -> Catalogue:
    """The same, once its shards are seen to lie below its folder. Raises ValueError: a file from elsewhere must not lead out."""
    for name in catalogue.names:
        if name.startswith("/") or "://" in name or ".." in name.split("/"):
            raise ValueError(f"the shard {name!r} does not lie below its folder")
    return catalogue


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_state(path: str) -> tuple[int, int]:
    """Length and time of change (ns). Raises DataError."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    return status.st_size, status.st_mtime_ns
