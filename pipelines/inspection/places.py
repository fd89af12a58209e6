"""What a user calls the data -> the pieces that workers look at, and what is wrong before any is opened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..catalogue import CATALOGUE, Catalogue, read_catalogue
from ..faults import DataError
from ..patterns import expand
from ..remote.opening import find_shards
from ..remote.options import Remote
from ..remote.store import Store
from ..sources.folder import FolderSource
from .findings import Finding
from .shard import Shard
from .work import Files, Piece

TOGETHER = 500
"""Files of a folder that are one piece of work."""

_URL = re.compile(r"(?!file:)[a-zA-Z][a-zA-Z0-9+.-]*://")


@dataclass(frozen=True)
class Place:
    """name: what the user wrote. pieces: in order. catalogued: there is a catalogue; classes: names of the labels, () where they
    have none; wrong: of the catalogue; store, indexes: of shards behind URLs, as find_shards has them."""

    name: str
    pieces: list[Piece]
    catalogued: bool = False
    classes: tuple[str, ...] = ()
    wrong: tuple[Finding, ...] = ()
    store: Store | None = None
    indexes: str = ""

    @property
    def shards(self) -> bool:
        """Not files of a folder."""
        return isinstance(self.pieces[0], Shard)


def place_of(data: Sequence[str], catalogue: str = "") -> Place:
    """data: one or more of what open_source takes for files; catalogue: a local folder that has that of shards behind URLs.
    Raises DataError for what is not there, ValueError for a catalogue that nothing asks for."""
    name = " ".join(data)
    remote = [bool(_URL.match(each)) for each in data]
    if all(remote):
        return _behind_urls(name, data, catalogue)
    if any(remote):
        raise DataError(f"{name}: local files and URLs in one command: check them apart")
    if catalogue:
        raise ValueError(f"catalogue={catalogue} is for shards behind URLs; local shards have theirs beside them: leave it out")
    paths = expand(list(data))
    folders = [path for path in paths if path.is_dir()]
    if folders and len(paths) > 1:
        raise DataError(f"{folders[0]}: a folder among {len(paths)} places: give one folder alone, or tar shards only")
    return _folder(name, folders[0].absolute()) if folders else _tars(name, [path.absolute() for path in paths])


def _behind_urls(name: str, data: Sequence[str], catalogue: str) -> Place:
    try:
        found = find_shards(data, Remote(catalogue=catalogue or None))
    except DataError as error:
        raise DataError(str(error).replace("remote.catalogue=", "catalogue=")) from error
    known = found.catalogue
    pieces: list[Piece] = [Shard(shard, known.entry(number), listed=True) for number, shard in enumerate(known.names)]
    if not pieces:
        raise DataError(f"{name}: its {CATALOGUE} has no shards: pack them again")
    return Place(name, pieces, catalogued=True, store=found.store, indexes=found.indexes)


def _folder(name: str, folder: Path) -> Place:
    tars = sorted(path.name for path in folder.glob("*.tar"))
    try:
        catalogue = read_catalogue(folder)
    except DataError as error:
        if not tars:
            raise
        return Place(name, [Shard(str(folder / tar)) for tar in tars], wrong=(_catalogue(folder, error),))
    if catalogue is not None:
        known = set(catalogue.names)
        pieces = _listed(folder, catalogue, [*catalogue.names, *(tar for tar in tars if tar not in known)])
        if not pieces:
            raise DataError(f"{folder / CATALOGUE}: has no shards: pack them again")
        return Place(name, pieces, catalogued=True)
    if tars:
        raise DataError(f"{folder}: a folder of {len(tars)} tars, from {tars[0]} to {tars[-1]} and no {CATALOGUE}: say which, as "
                        f"in {folder / 'NAME-*.tar'}")
    source = FolderSource(folder)
    labels = source.labels.tolist()
    pieces = [Files(str(folder), tuple(source.files[at:at + TOGETHER]), tuple(labels[at:at + TOGETHER]))
              for at in range(0, len(labels), TOGETHER)]
    return Place(name, list(pieces), classes=source.classes)


def _tars(name: str, paths: list[Path]) -> Place:
    """Of a catalogue, those that are meant; the others are no matter here."""
    catalogues: dict[Path, Catalogue | None] = {}
    wrong = []
    for folder in dict.fromkeys(path.parent for path in paths):
        try:
            catalogues[folder] = read_catalogue(folder)
        except DataError as error:
            catalogues[folder] = None
            wrong.append(_catalogue(folder, error))
    by_folder: dict[Path, dict[str, Piece]] = {}
    for folder, catalogue in catalogues.items():
        names = [path.name for path in paths if path.parent == folder]
        listed = [Shard(str(folder / each)) for each in names] if catalogue is None else _listed(folder, catalogue, names)
        by_folder[folder] = dict(zip(names, listed, strict=True))
    return Place(name, [by_folder[path.parent][path.name] for path in paths], any(c is not None for c in catalogues.values()),
                 wrong=tuple(wrong))


def _listed(folder: Path, catalogue: Catalogue, names: Sequence[str]) -> list[Piece]:
    place = {name: shard for shard, name in enumerate(catalogue.names)} if names else {}
    return [Shard(str(folder / name), catalogue.entry(place[name]) if name in place else None, listed=True) for name in names]


def _catalogue(folder: Path, error: DataError) -> Finding:
    path = str(folder / CATALOGUE)
    return Finding("catalogue", path, path, str(error).removeprefix(f"{path}: "))
