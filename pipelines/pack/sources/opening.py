"""What a user writes as SRC -> the units it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...catalogue import read_catalogue
from ...faults import DataError
from ...patterns import expand, spelt_out
from ..settings import Settings
from .files import FolderUnit, TableUnit
from .opened import filesystem, is_url
from .parquet import ParquetUnit
from .remote import PipeUnit, RemoteTarUnit, is_pipe
from .tars import TarUnit

KINDS: dict[str, Any] = {kind.kind: kind for kind in (FolderUnit, TableUnit, TarUnit, ParquetUnit, RemoteTarUnit, PipeUnit)}
_TABLES, _PARQUET, _TARS = (".csv", ".tsv"), (".parquet", ".pq"), (".tar",)


@dataclass(frozen=True)
class Opened:
    """units: in the order of the source; classes: names of the labels that were names, by their numbers."""

    units: tuple[Any, ...]
    classes: tuple[str, ...]


def unit_from(about: dict[str, Any]) -> Any:
    about = dict(about)
    return KINDS[about.pop("kind")](**about)


def open_units(sources: Sequence[str], settings: Settings, staged: Path, allow_pipe: bool = False) -> Opened:
    """staged: a folder for what can be read only once. Raises DataError, in one line, for what cannot be a source."""
    units: list[Any] = []
    for text in sources:
        units += _units(text, staged, allow_pipe, len(units))
    if not units:
        raise DataError("pack needs a source: a folder of images, tars, URLs, Parquet files or a CSV of paths")
    named = {unit.name(): unit for unit in units}
    if len(named) < len(units):
        names = [unit.name() if unit.kind != "tar" else unit.path for unit in units]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{twice}: given twice: its samples would count double; drop one")
        units = [TarUnit(unit.path, unit.path) if unit.kind == "tar" else unit for unit in units]
    if all(unit.kind == "folder" for unit in units) is False and (settings.image or settings.label or settings.key):
        tables = [unit for unit in units if unit.kind in ("table", "parquet")]
        if not tables:
            raise DataError("image=, label= and key= name columns, but no source is a Parquet file or a CSV")
    return Opened(tuple(units), _classes(units, settings))


def _units(text: str, staged: Path, allow_pipe: bool, count: int) -> list[Any]:
    if is_pipe(text):
        if not allow_pipe:
            raise DataError(f"{text}: runs a command of the shell: give --allow-pipe as well, if you know it")
        return [PipeUnit(str(staged / f"{count:05d}.tar"), "", text)]
    if is_url(text) and not text.startswith("file://"):
        return [_remote(url) for url in urls_of(text)]
    paths = expand([text])
    if len(paths) == 1 and paths[0].is_dir():
        return _of_folder(paths[0])
    return [_local(path) for path in paths]


def _of_folder(folder: Path) -> list[Any]:
    packed = read_catalogue(folder)
    if packed is not None:
        return [TarUnit(str((folder / name).absolute())) for name in packed.names]
    inside = sorted(path for path in folder.iterdir() if path.suffix.lower() in (*_TARS, *_PARQUET) and path.is_file())
    if inside:
        raise DataError(f"{folder}: a folder of {len(inside)} files from {inside[0].name} to {inside[-1].name} and no catalogue: "
                        f"say which, as in {folder / ('*' + inside[0].suffix)}")
    return [FolderUnit(str(folder.absolute()))]


def _local(path: Path) -> Any:
    ending = path.suffix.lower()
    if path.is_dir():
        raise DataError(f"{path}: a folder among files of a pattern: give folders one by one")
    if ending in _TABLES:
        return TableUnit(str(path.absolute()))
    return ParquetUnit(str(path.absolute())) if ending in _PARQUET else TarUnit(str(path.absolute()))


def _remote(url: str) -> Any:
    bare = url.partition("?")[0].lower()
    if bare.endswith(_TABLES):
        raise DataError(f"{url}: a table of paths must be local, as its images are: download it")
    return ParquetUnit(url) if bare.endswith(_PARQUET) else RemoteTarUnit(url)


def urls_of(text: str) -> list[str]:
    """Braces are spelt out; stars are matched where the file system can list."""
    found = []
    for url in spelt_out(text):
        if "*" not in url and "[" not in url:
            found.append(url)
            continue
        system, inside = filesystem(url)
        try:
            matches = sorted(system.glob(inside))
        except Exception as error:  # every library behind fsspec has its own
            raise DataError(f"{url}: cannot be listed ({type(error).__name__}): write the range in braces, as in "
                            "train-{0000..0146}.tar") from error
        if not matches:
            raise DataError(f"{url}: matches nothing: check the address")
        found += [system.unstrip_protocol(match) for match in matches]
    return found


def _classes(units: Sequence[Any], settings: Settings) -> tuple[str, ...]:
    names: set[str] = set()
    for unit in units:
        names |= unit.class_names(settings)
    numbered = {tuple(unit.numbered(settings)): unit for unit in units if unit.kind == "parquet"}
    numbered.pop((), None)
    if len(numbered) > 1 or (numbered and names):
        other = ", ".join(unit.name() for unit in numbered.values())
        raise DataError(f"{other}: sources number their classes differently: pack them apart, or give label=COLUMN")
    return next(iter(numbered), tuple(sorted(names)))


