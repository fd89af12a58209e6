"""Indexes and a catalogue for tars that exist already, which are left as they are."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from ..catalogue import CATALOGUE, ShardEntry, entry_of, seal_shard, write_catalogue
from ..counters import Counters
from ..faults import DataError
from ..index import ShardIndex, index_of
from ..index_file import INDEX_SUFFIX, beside
from ..patterns import expand
from ..progress import Progress
from ..remote.fetch import Wanted, fetch
from ..remote.store import Store, scheme_of
from ..tar import BLOCK, name_in, sum_is_right, whole_members
from .report import Summary
from .settings import Settings
from .sources.opened import is_url
from .sources.opening import urls_of
from .target import upload

SHORT_NAME = 100
"""Bytes of a member's name that its own header has room for."""


def index_only(sources: Sequence[str], target: str | None, settings: Settings) -> Summary:
    """Index local tars beside them, and write their folder's catalogue; those behind URLs are fetched one by one, and their
    indexes and catalogue are put beside them, or into target, a local folder.

    A tar whose index is there already is not read again. A damaged one is left out of the catalogue and named in the summary;
    with damaged=keep its whole members are indexed. Raises DataError where there is nothing to index, or tars lie in several
    places: a catalogue has one.
    """
    began = time.monotonic()
    remote = [is_url(source) and not source.startswith("file://") for source in sources]
    if any(remote) != all(remote):
        raise DataError("--index-only: local tars and URLs in one command: index them apart, each place has its own catalogue")
    entries: list[ShardEntry] = []
    problems: list[str] = []
    with Progress() as progress:
        if all(remote):
            urls = [url for source in sources for url in urls_of(source)]
            place = _one_place([url.rpartition("/")[0] for url in urls])
            where = _remote(urls, place, target, settings, progress, entries, problems)
        else:
            if target is not None:
                raise DataError(f"{target}: local tars keep their indexes beside them: leave the folder out")
            where = _local(_paths(sources), settings, progress, entries, problems)
    if not entries:
        raise DataError(f"{problems[0]}: nothing else to index" if problems else "no tars to index")
    return Summary(where, shards=len(entries), listed=sum(e.samples for e in entries), samples=sum(e.samples for e in entries),
                   tar_bytes=sum(e.tar_bytes for e in entries), problems=problems, seconds=time.monotonic() - began,
                   packed_now=sum(e.samples for e in entries))


def _paths(sources: Sequence[str]) -> list[Path]:
    found: list[Path] = []
    for path in expand(list(sources)):
        found += sorted(path.glob("*.tar")) if path.is_dir() else [path]
    if not found:
        raise DataError(f"{sources[0]}: no tars in it: give the folder of the tars, or a pattern")
    return found


def _one_place(places: Sequence[str]) -> str:
    different = sorted(set(places))
    if len(different) > 1:
        raise DataError(f"--index-only: tars in {len(different)} places, {different[0]} and {different[1]}: index them apart, "
                        "each place has its own catalogue")
    return different[0]


def _local(paths: list[Path], settings: Settings, progress: Progress, entries: list[ShardEntry], problems: list[str]) -> str:
    folder = Path(_one_place([str(path.absolute().parent) for path in paths]))
    progress.begin("indexing", len(paths))
    for done, path in enumerate(paths, 1):
        entry = _fresh(path) or _sealed(path, settings, problems)
        if entry is not None:
            entries.append(entry)
        progress.advance(done)
    if entries:
        write_catalogue(folder, entries)
    return str(folder)


def _fresh(path: Path) -> ShardEntry | None:
    """Of an index that is there, has checksums, is not older than its tar, and of no other one of equal length."""
    try:
        if os.stat(f"{path}{INDEX_SUFFIX}").st_mtime_ns < path.stat().st_mtime_ns:
            return None
        known = beside(path, path.stat().st_size)
        if known is None or not known[1].sha256 or not _fits(path, known[0]):
            return None
    except OSError:
        return None
    return entry_of(path)


def _fits(path: Path, index: ShardIndex) -> bool:
    """Whether the tar has the first, the middle and the last sample, by name and bytes, where the index says: shards may have
    equal keys and equal lengths, yet not equal images. An index without samples or checksums is not worth keeping. Raises
    OSError."""
    if not len(index) or not index.checksums:
        return False
    with path.open("rb") as file:
        for row in {0, len(index) // 2, len(index) - 1}:
            offset, size = index.place(row)
            header = os.pread(file.fileno(), BLOCK, offset - BLOCK) if offset >= BLOCK else b""
            if len(header) < BLOCK or not sum_is_right(header):
                return False
            name, said = index.name(row), name_in(header)
            if name != said and not (len(said) >= SHORT_NAME and name.startswith(said)):  # a long name's beginning
                return False
            if zlib.crc32(os.pread(file.fileno(), size, offset)) != index.records.item(row)[-1]:
                return False
    return True


def _sealed(path: Path, settings: Settings, problems: list[str], name: str = "") -> ShardEntry | None:
    try:
        return seal_shard(path)
    except DataError as error:
        problem = str(error).replace(str(path), name or str(path))
        problems.append(problem)
        members, damage = whole_members(path)
        if damage is None or settings.damaged == "skip" or not members:
            return None
        return seal_shard(path, index_of(path, members, checksums=True))


def _remote(urls: list[str], place: str, target: str | None, settings: Settings, progress: Progress, entries: list[ShardEntry],
            problems: list[str]) -> str:
    """One tar at a time is on this machine."""
    scratch = Path(tempfile.mkdtemp(prefix="viewmill-index-"))
    store, out = Store(scheme_of(urls[0])), Path(target) if target is not None else None
    progress.begin("indexing", len(urls))
    try:
        for done, url in enumerate(urls, 1):
            name = url.rpartition("/")[2].partition("?")[0]
            path, entry = scratch / name, None
            try:
                fetch(store, Wanted(url), path, Counters())
                entry = _sealed(path, settings, problems, url)
            except DataError as error:
                problems.append(str(error))
            if entry is not None:
                _deliver(scratch / f"{name}{INDEX_SUFFIX}", out, place)
                entries.append(entry)
            path.unlink(missing_ok=True)
            progress.advance(done)
        if entries:
            write_catalogue(scratch, entries)
            _deliver(scratch / CATALOGUE, out, place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return str(out) if out is not None else place


def _deliver(file: Path, out: Path | None, place: str) -> None:
    if out is None:
        upload(file, place, file.name)
        file.unlink()
        return
    out.mkdir(parents=True, exist_ok=True)
    partial = out / f".{file.name}.partial"
    shutil.copyfile(file, partial)
    partial.replace(out / file.name)
    file.unlink()
