"""Whether a data set is whole, and what is in it.

    viewmill check shards/ decode=all

Each shard is looked at by itself (`work`, `shard`, `images`), by as many processes as there are; then what only shows in all of
them together. Nothing is changed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..cache import write_whole
from ..faults import DataError
from ..placement import cores
from ..progress import Progress
from ..quarantine import Quarantined, now, read_quarantine
from ..workers import Here, Processes
from .duplicates import equal_images, equal_keys
from .fetched import Fetched, scratch_folder
from .findings import KEPT, OF_SAMPLES, Finding, Found, Hashes
from .named import asked_of
from .places import Place, place_of
from .report import Report
from .settings import Settings, manual, settings_of
from .shard import Shard
from .storage import Disk, Storage
from .work import decode_some, examine, name_some, where

__all__ = ["Report", "Settings", "check", "manual", "settings_of"]

SMALL_BYTES, SMALL_FOLDER = 128 << 20, 2
"""Shards of that many bytes together, or a folder of that many pieces, are looked at here, unless workers= says otherwise."""


def check(data: Sequence[str], settings: Settings | None = None, progress: Progress | None = None) -> Report:
    """Raises DataError and ValueError, in one line, for what is no data, and for a log that is none; WorkerDied where a process
    was killed."""
    settings = settings or Settings()
    log = read_quarantine(settings.quarantine) if settings.quarantine else []
    if settings.write and Path(settings.write).exists():
        read_quarantine(settings.write)  # nothing else is written over
    place = place_of(data, settings.catalogue)
    count = min(settings.workers or (1 if _small(place) else cores()), len(place.pieces))
    with ExitStack() as ends:
        storage: Storage = Disk()
        if place.store is not None:
            storage = Fetched(place.store, ends.enter_context(scratch_folder()), place.indexes)
        workers = Here() if count == 1 else Processes(count)
        ends.callback(workers.close)  # before the folder goes
        report = _Check(place, settings, storage, workers, ends.enter_context(progress or Progress())).run(log)
    if settings.write:
        _write(Path(settings.write), report.found.findings)
    return report


def _small(place: Place) -> bool:
    """Done before other processes have started, which takes a second."""
    if not place.shards:
        return len(place.pieces) <= SMALL_FOLDER
    if place.store is not None:
        return sum(piece.entry.tar_bytes for piece in place.pieces if isinstance(piece, Shard) and piece.entry) <= SMALL_BYTES
    return sum(os.stat(piece.name).st_size for piece in place.pieces if os.path.exists(piece.name)) <= SMALL_BYTES


class _Check:
    def __init__(self, place: Place, settings: Settings, storage: Storage, workers: Any, progress: Progress) -> None:
        self.place, self.settings, self.storage = place, settings, storage
        self.workers, self.progress = workers, progress
        self.pieces = place.pieces
        self.found = Found()
        self.sizes = np.zeros(len(self.pieces), np.int64)  # samples
        self.lengths = np.zeros(len(self.pieces), np.int64)  # bytes of shards

    def run(self, log: Sequence[Quarantined]) -> Report:
        began = time.monotonic()
        for finding in self.place.wrong:
            self.found.add(finding)
        hashes = self._examined(log)
        if not self.found.images and not self.found.damages():
            raise DataError(f"{self.place.name}: no images: images are members named KEY.jpg (or .png, .webp, ...)")
        if self.settings.decode > 0 and self.place.store is None:
            self._decoded()
        if self.settings.duplicates:
            self._twice("duplicate", "has the bytes of", equal_images(hashes))
            self._twice("key twice", "has the key of", equal_keys(hashes))
        number = {piece.name: n for n, piece in enumerate(self.pieces)}
        self.found.findings.sort(key=lambda each: (number.get(each.shard, 0), each.offset, each.where))
        return Report(self.place, self.settings, self.found, self.lengths, tuple(log), time.monotonic() - began)

    def _examined(self, log: Sequence[Quarantined]) -> list[Hashes]:
        hashes: dict[int, Hashes] = {}
        without = []  # shards without an index
        asked = asked_of(self.pieces, log)
        began = time.monotonic()
        tasks = [(self.storage, piece, self.settings, named, rows)
                 for piece, named, rows in zip(self.pieces, asked, self._decoded_at_once(), strict=True)]
        for number, (found, own) in self._run("checking", examine, tasks, lambda: _rate(self.found.images, began)):
            self.sizes[number], self.lengths[number] = found.images, found.bytes
            if found.shards and not found.indexes and not found.counts["index"]:
                without.append(number)
            if own is not None:
                hashes[number] = own
            self.found.merge(found)
        if self.found.indexes:
            for number in without:
                name = self.pieces[number].name
                self.found.add(Finding("no index", name, name, "without index: write it with viewmill pack --index-only"))
        return [hashes[number] for number in range(len(self.pieces)) if number in hashes]

    def _decoded_at_once(self) -> list[list[int]]:
        """Rows of each piece. Shards behind URLs are not fetched twice: the catalogue says how many samples each has."""
        rows: list[list[int]] = [[] for _ in self.pieces]
        if self.settings.decode > 0 and self.place.store is not None:
            sizes = np.array([piece.entry.samples if isinstance(piece, Shard) and piece.entry else 0 for piece in self.pieces])
            for number, of in self._rows_of(sizes, self._spread(sizes)):
                rows[number] = of
        return rows

    def _spread(self, sizes: np.ndarray) -> np.ndarray:
        """As many numbers of samples as are to be decoded, evenly."""
        total = int(sizes.sum())
        return np.unique(np.linspace(0, total - 1, min(total, self.settings.decode)).round().astype(np.int64))

    def _decoded(self) -> None:
        """Of images that are known to be damaged, the first damage stands."""
        wanted = self._spread(self.sizes)
        known = {(each.shard, each.offset, each.key) for each in self.found.findings if each.kind in OF_SAMPLES}
        for _, decoded in self._of_rows("decoding", decode_some, wanted):
            for _, finding in decoded:
                self.found.decoded += finding is None or finding.kind == "size"
                if finding is not None and (finding.shard, finding.offset, finding.key) not in known:
                    self.found.add(finding)

    def _twice(self, kind: str, what: str, pairs: np.ndarray) -> None:
        """All are counted, the first ones named."""
        count, pairs = len(pairs), pairs[:KEPT]
        starts = np.cumsum(self.sizes) - self.sizes
        images = {}
        for piece, named in self._of_rows("naming", name_some, np.unique(pairs)):
            images.update({int(starts[piece]) + row: image for row, image in named})
        for later, first in pairs.tolist():
            image = images[later]
            self.found.add(Finding(kind, image.shard, where(image), f"{what} {where(images[first])}", image.key, image.offset,
                                   image.size))
        self.found.counts[kind] = count

    def _of_rows(self, title: str, function: Any, rows: np.ndarray) -> Iterator[tuple[int, Any]]:
        """A call for each piece that has some of the samples, with their rows in it."""
        pieces = self._rows_of(self.sizes, rows)
        tasks = [(self.storage, self.pieces[number], of) for number, of in pieces]
        for which, result in self._run(title, function, tasks, lambda: ""):
            yield pieces[which][0], result

    @staticmethod
    def _rows_of(sizes: np.ndarray, rows: np.ndarray) -> list[tuple[int, list[int]]]:
        """Numbers of samples of all pieces -> of each piece that has some, its number, and theirs in it."""
        ends = np.cumsum(sizes)
        owner = np.searchsorted(ends, rows, side="right")
        return [(n, (rows[owner == n] - (ends[n] - sizes[n])).tolist()) for n in np.unique(owner).tolist()]

    def _run(self, title: str, function: Any, tasks: Sequence[tuple[Any, ...]], text: Any) -> Iterator[tuple[int, Any]]:
        self.progress.begin(title, len(tasks))
        for done, each in enumerate(self.workers.run(function, tasks), 1):
            yield each
            self.progress.advance(done, text())


def _rate(images: int, began: float) -> str:
    return f"{images / max(1e-9, time.monotonic() - began):,.0f} images/s"


def _write(path: Path, findings: Sequence[Finding]) -> None:
    """Anew, whole. Raises DataError."""
    time_now = now()
    lines = [json.dumps(asdict(Quarantined(time_now, each.shard, each.key, each.where, each.offset, each.size, each.reason)))
             for each in findings if each.kind in OF_SAMPLES]
    if not write_whole(path, "".join(line + "\n" for line in lines).encode()):
        raise DataError(f"{path}: cannot be written: make room, or allow it")
