"""Pictures that show several classes at once: by VOC's annotations, or by JSON beside each picture."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from ..pipelines.index import JSON_BYTES, samples
from ..pipelines.remote.options import Remote
from ..pipelines.source import Source, open_source
from ..pipelines.sources.folder import FolderSource
from ..pipelines.sources.subset import Subset
from ..pipelines.sources.tar import TarSource
from ..pipelines.tar import members
from . import voc
from .pictures import Pictures

MOST = 100_000
"""Classes: a label above is taken for a slip, before a table of that width is made."""


class MultiLabelSource:
    """Another source, whose pictures show any number of classes.

    target (N, C) int8: 1 shown, 0 not, -1 ignored: only a difficult one is there, or nothing is known of the picture. names: of
    the classes, where they have some. `label` is the first class that is shown, -1 where none is.
    """

    labelled = True

    def __init__(self, source: Source, target: np.ndarray, names: Sequence[str] = ()) -> None:
        self.source, self.target, self.names = source, target, tuple(names)
        self.shard_sizes, self.local = source.shard_sizes, source.local
        digest = blake2b(f"{target.shape} {self.names}".encode() + target.tobytes(), digest_size=8).hexdigest()
        self.fingerprint = f"{source.fingerprint}:{digest}"

    def __len__(self) -> int:
        return len(self.source)

    def size_hw(self, index: np.ndarray) -> np.ndarray:
        return self.source.size_hw(index)

    def read(self, index: int) -> bytes | np.ndarray:
        return self.source.read(index)

    def key(self, index: int) -> str:
        return self.source.key(index)

    def label(self, index: int) -> int:
        shown = np.flatnonzero(self.target[index] == 1)
        return int(shown[0]) if len(shown) else -1

    def where(self, index: int) -> str:
        return self.source.where(index)

    def find(self, key: str) -> int:
        return self.source.find(key)


def open_labelled(data: Any, remote: Remote | None = None) -> Source:
    """The source that is meant; a MultiLabelSource where its pictures show several classes:

    - a list of VOC's, such as VOC2007/ImageSets/Main/trainval.txt;
    - local tar shards or a folder where a picture's JSON (KEY.json, or beside a file one of its name) has a list,
      {"label": [0, 3], "difficult": [7]}: classes by number, those it shows and those that count neither way.

    Raises ValueError, one line, for what cannot be read, or labels that are no classes.
    """
    if voc.is_list(data):
        return _of_voc(Path(data))
    source = open_source(data, remote=remote)
    beside = _beside(source)
    if beside is None:
        return source
    told = [_classes(about, source.where(i)) for i, about in enumerate(beside)]
    if not any(several for several, _, _ in told):
        return source
    width = 1 + max(max([*shown, *difficult, source.label(i)], default=-1) for i, (_, shown, difficult) in enumerate(told))
    if width == 0:
        raise ValueError(f"{source.where(0)} and all others show no class; of several pictures each needs to show one at least")
    target = np.zeros((len(source), width), np.int8)
    for i, (several, shown, difficult) in enumerate(told):
        shown = shown if several else [source.label(i)]
        if shown == [-1]:
            target[i] = -1  # neither a list nor a label: it stands against no class
            continue
        target[i, difficult] = -1
        target[i, shown] = 1
    return MultiLabelSource(source, target)


def targets(pictures: Pictures, classes: int | None = None) -> np.ndarray:
    """(n, C) int8 of some pictures, in their order: 1 shown, 0 not, -1 ignored. classes: at least so many; those beyond the
    source's own are not shown."""
    source = pictures.source
    if not isinstance(source, MultiLabelSource):
        return (pictures.label[:, None] == np.arange(classes or int(pictures.label.max()) + 1)).astype(np.int8)
    own = source.target[pictures.index]
    more = max((classes or 0) - own.shape[1], 0)
    unknown = np.where((own == -1).all(1), -1, 0).astype(np.int8)
    return np.concatenate([own, np.repeat(unknown[:, None], more, axis=1)], axis=1)


def _of_voc(path: Path) -> Source:
    root, keys = voc.root(path), voc.keys(path)
    whole = FolderSource(root / "JPEGImages")
    place = {file.rpartition(".")[0]: i for i, file in enumerate(whole.files)}
    missing = next((key for key in keys if key not in place), None)
    if missing is not None:
        raise ValueError(f"{path} lists {missing!r}, which {root / 'JPEGImages'} has not")
    target = np.stack([_present(root / "Annotations" / f"{key}.xml") for key in keys])
    return MultiLabelSource(Subset(whole, np.array([place[key] for key in keys])), target, voc.CLASSES)


def _present(path: Path) -> np.ndarray:
    try:
        return voc.present(voc.objects(path)[1])
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from error


def _beside(source: Source) -> Iterable[bytes | None] | None:
    """Each picture's JSON, None where it has none; None where a source has none to show: arrays, remote shards."""
    if isinstance(source, TarSource):
        return [about for path, count in zip(source.paths, source.shard_sizes.tolist(), strict=True)
                for about in _in_tar(Path(path), count)]
    if isinstance(source, FolderSource):
        return [_file(source.folder / f"{file.rpartition('.')[0]}.json") for file in source.files]
    return None


def _in_tar(path: Path, count: int) -> Iterator[bytes | None]:
    if count == 0:
        return
    with path.open("rb") as file:
        for _, group in samples(members(path)):
            about = group.get("json")
            yield os.pread(file.fileno(), about.size, about.offset) if about is not None and about.size <= JSON_BYTES else None


def _file(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.stat().st_size <= JSON_BYTES else None
    except OSError:
        return None


def _classes(about: bytes | None, where: str) -> tuple[bool, list[int], list[int]]:
    """(whether there is a list of classes, those shown, those difficult)."""
    try:
        told = json.loads(about) if about is not None else None
    except (ValueError, RecursionError):
        told = None  # not ours to judge: other programs keep other things in a picture's JSON
    if not isinstance(told, dict) or not isinstance(told.get("label"), list):
        return False, [], []
    found = told["label"], told.get("difficult", [])
    for name, classes in zip(("label", "difficult"), found, strict=True):
        right = isinstance(classes, list) and all(isinstance(each, int) and not isinstance(each, bool) for each in classes)
        if not right or not all(0 <= each < MOST for each in classes):
            raise ValueError(f"{where}: its JSON needs {name!r} to be a list of classes, whole numbers from 0 to {MOST - 1}, for "
                             f"example [0, 3], got {json.dumps(classes)[:60]}")
    return True, *found
