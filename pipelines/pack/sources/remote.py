"""Tars behind URLs: listed in one pass over their bytes, then read by ranges. And tars that a command writes, kept meanwhile."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np

from ...counters import Counters
from ...faults import DataError
from ...remote.patience import Patience, Tries
from ...remote.store import Store, scheme_of
from ...remote.trouble import Trouble, of_error
from ...tar import BLOCK, FILE, FOLDER, LINKS, LONG, Rare, name_in, number_in, padded, pax_in, sum_is_right, text_in
from ..listing import Listing, Rows, rows_of
from ..sample import Refused, Sample
from ..settings import Settings
from .tars import Placed, TarUnit, add_members, sample_in

_THREADS, _AHEAD = 16, 48
_GAP, _RUN = 1 << 16, 8 << 20
"""Ranges this near to each other are one request, of at most so many bytes."""

_CHUNK = 1 << 22
T = TypeVar("T")


def patient(url: str, ask: Callable[[], T]) -> T:
    """ask(), again after errors that may pass. Raises DataError, in one line, after the last."""
    def translated() -> T:
        try:
            return ask()
        except (DataError, Trouble):
            raise
        except Exception as error:  # every library behind fsspec has its own
            raise of_error(error) from error

    return Tries(url, Patience(), Counters()).run(translated)


class Stream:
    """Bytes of a URL: from the front in large pieces, or any range."""

    def __init__(self, url: str) -> None:
        self.url, self._store = url, Store(scheme_of(url))
        about = patient(url, lambda: self._store.about(url))
        self.size, self.state = about.size, f"{about.size} {about.version}"
        self._held, self._at = b"", 0

    def range(self, begin: int, end: int) -> bytes:
        """Raises DataError."""
        return patient(self.url, lambda: self._store.read(self.url, begin, end))

    def check_parts(self) -> None:
        """Raises DataError where the server sends whole files when it is asked for parts."""
        if self.size > 1:
            self.range(self.size - 1, self.size)
        if self._store.whole_only:
            raise DataError(f"{self.url}: the server sends whole files only, no parts of them: download it, and pack the copy")

    def at(self, offset: int, length: int) -> bytes:
        """The bytes there are; offsets must not go back."""
        end = min(offset + length, self.size)
        if end > self._at + len(self._held):
            begin = self._at + len(self._held)
            if offset > begin:  # what lies between is not needed
                self._held, self._at, begin = b"", offset, offset
            self._held += self.range(begin, min(self.size, max(end, begin + _CHUNK)))
        if offset > self._at:
            self._held, self._at = self._held[offset - self._at:], offset
        return self._held[:max(0, end - offset)]


def walk(what: str, at: Callable[[int, int], bytes], end: int) -> Iterator[Placed]:
    """The regular files of a tar of `end` bytes. Raises DataError at a damage, after the files before it."""
    place, start, name, size = 0, 0, None, None
    while True:
        header = at(place, BLOCK)
        if len(header) == BLOCK and header.count(0) == BLOCK:
            for begin in range(place, end, _CHUNK):
                rest = at(begin, _CHUNK)
                if rest.count(0) < len(rest):
                    raise DataError(f"{what}: its end mark at offset {place} is followed by more data: make or copy it again")
            return
        try:
            if len(header) < BLOCK or not sum_is_right(header):
                what_is = "not a tar, or a compressed one," if not place else "cut short" if len(header) < BLOCK else "damaged"
                raise DataError(f"{what}: {what_is} at offset {place}, where a tar header should be: make or copy it again")
            kind, length = header[156:157], number_in(header[124:136])
            if kind in LONG:
                data = at(place + BLOCK, length)
                if kind == b"L":
                    name = text_in(data)
                elif kind == b"x":
                    name, size = pax_in(data, name)
                place += BLOCK + padded(length)
                continue
            length = length if size is None else size
            if kind in FILE:
                if place + BLOCK + length > end:
                    raise DataError(f"{what}: cut short, it ends at {end} bytes, inside the member at offset {place}: make or "
                                    "copy it again")
                yield Placed(name if name is not None else name_in(header), place + BLOCK, length, start)
            elif kind in LINKS:
                length = 0
            elif kind not in FOLDER:
                raise Rare
        except Rare:
            raise DataError(f"{what}: a rare kind of header at offset {place}: copy the tar to a local disk, where it can be "
                            "read") from None
        place += BLOCK + padded(length)
        start, name, size = place, None, None


@dataclass(frozen=True)
class RemoteTarUnit:
    """A tar of a server that answers ranges: all object stores, most web servers."""

    kind: ClassVar[str] = "remote tar"
    by_block: ClassVar[bool] = False
    in_order: ClassVar[bool] = False
    url: str

    def name(self) -> str:
        return self.url

    def state(self) -> str:
        return Stream(self.url).state

    def class_names(self, settings: Settings) -> set[str]:
        return set()

    def listed(self, settings: Settings, classes: dict[str, int], folder: Path) -> Listing:
        rows, problem = Rows(), ""
        stream = Stream(self.url)
        if stream.size < 0:
            raise DataError(f"{self.url}: the server does not say how long it is: download it first")
        found: list[Placed] = []
        try:
            found.extend(walk(self.url, stream.at, stream.size))  # keeps what came before an error
        except DataError as error:
            problem = str(error)
        stream.check_parts()
        if not problem or settings.damaged == "keep":
            add_members(rows, self.name(), found)
        return rows.listing(stream.state, problem)

    def key(self, listing: Listing, row: int) -> str:
        return listing.text(row)

    def blocks(self, listing: Listing) -> np.ndarray:
        full, rest = divmod(len(listing), 1024)
        return np.array([1024] * full + [rest] * (rest > 0), np.int64)

    def read(self, listing: Listing, rows: np.ndarray, settings: Settings) -> Iterator[tuple[int, Sample | Refused]]:
        stream = Stream(self.url)
        if listing.state != stream.state:
            raise DataError(f"{self.url}: has changed since it was listed: let nothing write to the source, and give "
                            "overwrite=true to begin anew")
        wanted = sorted((place, span, which) for which, (_, place, span) in enumerate(rows_of(listing, rows)))
        with ThreadPoolExecutor(_THREADS) as pool:
            pending: list[tuple[list[tuple[int, int, int]], Future[bytes]]] = []
            for run in _runs(wanted):
                pending.append((run, pool.submit(stream.range, run[0][0], run[-1][0] + run[-1][1])))
                if len(pending) >= _AHEAD:
                    yield from _samples(*pending.pop(0), self.url)
            for each in pending:
                yield from _samples(*each, self.url)


def _runs(wanted: list[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
    run: list[tuple[int, int, int]] = []
    for place, span, which in wanted:
        if run and (place - (run[-1][0] + run[-1][1]) > _GAP or place + span - run[0][0] > _RUN):
            yield run
            run = []
        run.append((place, span, which))
    if run:
        yield run


def _samples(run: list[tuple[int, int, int]], data: Future[bytes], url: str) -> Iterator[tuple[int, Sample | Refused]]:
    found = data.result()
    for place, span, which in run:
        start = place - run[0][0]
        yield which, sample_in(found[start:start + span], url)


@dataclass(frozen=True)
class PipeUnit(TarUnit):
    """The output of a command, which can only be read once: it is kept in a file until the pack is done."""

    kind: ClassVar[str] = "pipe"
    command: str = ""

    def state(self) -> str:
        return "a command's output"

    def name(self) -> str:
        return self.command

    def listed(self, settings: Settings, classes: dict[str, int], folder: Path) -> Listing:
        import webdataset

        partial = f"{self.path}.partial"
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with webdataset.gopen(self.command) as stream, open(partial, "wb") as file:
                while chunk := stream.read(_CHUNK):
                    file.write(chunk)
        except (OSError, subprocess.SubprocessError) as error:
            raise DataError(f"{self.command}: the command failed ({' '.join(str(error).split())[:200]}): try it by "
                            "itself") from error
        os.replace(partial, self.path)
        return super().listed(settings, classes, folder)


def is_pipe(text: str) -> bool:
    return text.startswith("pipe:")

