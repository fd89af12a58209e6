"""What a source holds, listed once and kept in files: where each sample lies, how long it is, and its key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .sample import Refused, hashed

LISTED = np.dtype([("place", "<i8"), ("span", "<i8"), ("size", "<i8"), ("hash", "<u8")])
"""place and span: where the sample lies, as its source counts; size: bytes that it takes in a shard if it is kept as it is;
hash: of its key."""


class Listing:
    """Samples of one unit of a source, rows 0..n-1. table (n,) LISTED; texts: of each row what `text` gives, without a break,
    row i's ending at ends[i] (n,) int64; refused: samples that are left out already; notes: counts to report."""

    def __init__(self, table: np.ndarray, texts: np.ndarray, ends: np.ndarray, refused: list[Refused], notes: dict[str, int],
                 state: str, problem: str) -> None:
        self.table, self.texts, self.ends = table, texts, ends
        self.refused, self.notes, self.state, self.problem = refused, notes, state, problem

    def __len__(self) -> int:
        return len(self.table)

    def text(self, row: int) -> str:
        start = int(self.ends[row - 1]) if row else 0
        return self.texts[start:int(self.ends[row])].tobytes().decode("utf-8", "surrogateescape")

    def save(self, stem: Path) -> None:
        """stem.table.npy, stem.texts.npy, stem.ends.npy, and last stem.json, without which the others count as unfinished."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        for name, array in (("table", self.table), ("texts", self.texts), ("ends", self.ends)):
            np.save(f"{stem}.{name}.npy", array)
        about = {"refused": self.refused, "notes": self.notes, "state": self.state, "problem": self.problem}
        partial = stem.with_name(f".{stem.name}.json.partial")
        partial.write_text(json.dumps(about))
        partial.replace(f"{stem}.json")

    @classmethod
    def load(cls, stem: Path) -> Listing:
        """Arrays stay on disk and are mapped. Raises OSError where it has not been finished."""
        about = json.loads(Path(f"{stem}.json").read_text())
        arrays = [np.load(f"{stem}.{name}.npy", mmap_mode="r") for name in ("table", "texts", "ends")]
        table, texts, ends = arrays
        refused = [Refused(*each) for each in about["refused"]]
        return cls(table, texts, ends, refused, about["notes"], about["state"], about["problem"])


@dataclass
class Rows:
    """A listing that grows row by row, about 40 bytes and its text each."""

    table: list[tuple[int, int, int, int]] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    _parts: list[tuple[np.ndarray, bytes, np.ndarray]] = field(default_factory=list)

    def add(self, place: int, span: int, size: int, key: str, text: str | None = None) -> None:
        self.table.append((place, span, size, hashed(key)))
        self.texts.append((key if text is None else text).encode("utf-8", "surrogateescape"))
        if len(self.table) == 1 << 16:
            self._close()

    def __len__(self) -> int:
        return len(self.table) + sum(len(part[0]) for part in self._parts)

    def refuse(self, shard: str, key: str, reason: str) -> None:
        self.refused.append(Refused(shard, key, reason))

    def note(self, name: str, count: int = 1) -> None:
        self.notes[name] = self.notes.get(name, 0) + count

    def listing(self, state: str, problem: str = "") -> Listing:
        """problem: one line where the source could not be read to its end."""
        self._close()
        table = np.concatenate([part[0] for part in self._parts])
        lengths = np.concatenate([part[2] for part in self._parts])
        texts = np.frombuffer(b"".join(part[1] for part in self._parts), np.uint8)
        return Listing(table, texts, np.cumsum(lengths, dtype=np.int64), self.refused, self.notes, state, problem)

    def _close(self) -> None:
        """Python's own numbers take four times as much memory."""
        self._parts.append((np.array(self.table, LISTED), b"".join(self.texts), np.array([len(t) for t in self.texts], np.int64)))
        self.table, self.texts = [], []


def rows_of(listing: Listing, rows: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(row, place, span) of some rows."""
    for row in rows.tolist():
        yield row, int(listing.table["place"][row]), int(listing.table["span"][row])


def as_json(about: dict[str, Any]) -> str:
    return json.dumps(about, ensure_ascii=False, separators=(",", ":"))
