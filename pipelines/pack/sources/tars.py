"""Local tar shards. A sample is the stretch of the tar from its first member's header to its last member's end."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from ...faults import DataError
from ...files import Files
from ...index import EXTENSIONS, groups, key_of
from ...tar import BLOCK, Member, whole_members
from ..listing import Listing, Rows, rows_of
from ..sample import Refused, Sample, UnsafeName, safe_key
from ..settings import Settings

_FILES = Files()


class Placed(NamedTuple):
    """A member, and where its headers begin."""

    name: str
    offset: int
    size: int
    start: int


def add_members(rows: Rows, shard: str, found: Iterable[Placed]) -> None:
    """The samples among a tar's members, in order."""
    for group in groups(found):  # type: ignore[arg-type]  # any iterable will do
        members: list[Placed] = list(group.values())  # type: ignore[arg-type]
        image = next((m for extension, m in group.items() if extension in EXTENSIONS), None)
        if image is None:
            rows.note("members without an image", len(members))
            continue
        start, end = members[0].start, members[-1].offset + members[-1].size
        end += -end % BLOCK
        key = key_of(image.name)
        try:
            key = safe_key(key)
        except UnsafeName as error:
            rows.refuse(shard, key, str(error))
            continue
        rows.add(start, end - start, sum(m.offset - m.start + m.size + -m.size % BLOCK for m in members), key)


def sample_in(span: bytes, where: str) -> Sample:
    """The sample that a stretch of a tar holds. Raises DataError where it is none."""
    files: list[tuple[str, bytes]] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(span + bytes(2 * BLOCK)), mode="r:", errors="backslashreplace") as tar:
            for info in tar:
                if info.isreg():
                    file = None if info.issparse() else tar.extractfile(info)
                    files.append((info.name, file.read() if file is not None else b""))
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DataError(f"{where}: no longer what it was when it was listed ({error})") from error
    group = next(groups([Member(name, i, len(data)) for i, (name, data) in enumerate(files)]), {})
    image = next((extension for extension in group if extension in EXTENSIONS), None)
    if image is None:
        raise DataError(f"{where}: no longer what it was when it was listed (no image)")
    others = tuple((extension, files[m.offset][1]) for extension, m in group.items() if extension != image)
    name = files[group[image].offset][0]
    return Sample(safe_key(key_of(name)), f"{where}: {name}", image, files[group[image].offset][1], others)


def stream_members(stream: tarfile.TarFile) -> Iterator[Placed]:
    """Regular files of an open tar."""
    for info in stream:
        if info.isreg():
            yield Placed(info.name, info.offset_data, 0 if info.issparse() else info.size, info.offset)
        stream.members = []  # type: ignore[attr-defined]  # tarfile would keep all of them


@dataclass(frozen=True)
class TarUnit:
    """path: of the tar; known_as: what reports call it, where that is not its file name."""

    kind: ClassVar[str] = "tar"
    by_block: ClassVar[bool] = False
    in_order: ClassVar[bool] = True
    path: str
    known_as: str = ""

    def name(self) -> str:
        return self.known_as or os.path.basename(self.path)

    def state(self) -> str:
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror}): check the path") from error
        return f"{status.st_size} {status.st_mtime_ns}"

    def class_names(self, settings: Settings) -> set[str]:
        return set()

    def listed(self, settings: Settings, classes: dict[str, int], folder: Path) -> Listing:
        rows, state = Rows(), self.state()
        found, problem = whole_members(Path(self.path))
        if problem is None or settings.damaged == "keep":
            add_members(rows, self.name(), placed(found))
        return rows.listing(state, str(problem or ""))

    def key(self, listing: Listing, row: int) -> str:
        return listing.text(row)

    def blocks(self, listing: Listing) -> np.ndarray:
        full, rest = divmod(len(listing), 1024)
        return np.array([1024] * full + [rest] * (rest > 0), np.int64)

    def read(self, listing: Listing, rows: np.ndarray, settings: Settings) -> Iterator[tuple[int, Sample | Refused]]:
        if listing.state != self.state():
            raise DataError(f"{self.path}: has changed since it was listed: let nothing write to the source, and give "
                            "overwrite=true to begin anew")
        for which, (_, place, span) in enumerate(rows_of(listing, rows)):
            try:
                data = _FILES.read(Path(self.path), place, span)
            except OSError as error:
                yield which, Refused(self.name(), listing.text(rows[which]), f"cannot be read ({error.strerror})")
                continue
            yield which, sample_in(data, self.name())


def placed(found: Iterable[Member]) -> Iterator[Placed]:
    """A tar's regular files, each with its headers: those begin where the file before ends."""
    start = 0
    for member in found:
        yield Placed(member.name, member.offset, member.size, start)
        start = member.offset + member.size + -member.size % BLOCK
