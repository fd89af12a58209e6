"""Images in folders, one file each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np

from ..faults import BadSample, DataError
from ..image_header import size_by_parts
from ..index import EXTENSIONS
from .keys import nearest_keys, not_found

_LOOKED_AT = 256
"""Files whose length enters the fingerprint, evenly spaced; of all, the names do."""


class FolderSource:
    """All images below a folder, by name. Its own folders are the classes, numbered in the order of their names, empty
    ones too; images outside of them have no label. Keys are paths below the folder. Hidden files are left out; links
    are followed. Sizes are read from the files' headers when asked for.

    Raises DataError for a folder without images.
    """

    local = True

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).absolute()
        self.classes = classes_of(self.folder)
        number = {name: i for i, name in enumerate(self.classes)}
        self.files = sorted(images_below(self.folder))
        if not self.files:
            raise DataError(f"{self.folder}: no images in this folder or below: images are files named .jpg (or "
                            f"{', '.join(sorted(EXTENSIONS - {'jpg'}))}), or pack them into .tar shards")
        self.labels = np.array([number.get(file.partition("/")[0], -1) if "/" in file else -1 for file in self.files], np.int64)
        self.labelled = bool((self.labels >= 0).any())
        self.shard_sizes = np.array([len(self.files)], np.int64)
        self.fingerprint = self._fingerprint()
        self._sizes = np.full((len(self.files), 2), -1, np.int32)

    def __len__(self) -> int:
        return len(self.files)

    def size_hw(self, index: np.ndarray) -> np.ndarray:
        index = np.asarray(index, np.int64).reshape(-1)
        for i in index[self._sizes[index, 0] < 0].tolist():
            self._sizes[i] = _dimensions(self.folder / self.files[i])
        return self._sizes[index]

    def read(self, index: int) -> bytes:
        try:
            with open(f"{self.folder}/{self.files[index]}", "rb", buffering=0) as file:
                return file.readall()
        except OSError as error:
            raise BadSample(f"cannot be read ({error.strerror})") from error

    def extent(self, index: int) -> tuple[Path, int, int]:
        """File, offset and size of what `read` reads. Raises OSError."""
        path = self.folder / self.files[index]
        return path, 0, path.stat().st_size

    def key(self, index: int) -> str:
        return self.files[index]

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def where(self, index: int) -> str:
        return str(self.folder / self.files[index])

    def find(self, key: str) -> int:
        """key may be a whole path, too."""
        wanted = key.removeprefix(f"{self.folder}/")
        at = int(np.searchsorted(np.array(self.files, object), wanted))
        if at == len(self.files) or self.files[at] != wanted:
            raise not_found(key, nearest_keys(wanted, self.files))
        return at

    def _fingerprint(self) -> str:
        digest = blake2b("\n".join(self.files).encode("utf-8", "surrogateescape"), digest_size=16)
        for i in np.unique(np.linspace(0, len(self) - 1, _LOOKED_AT).astype(np.int64)).tolist():
            digest.update(f"{(self.folder / self.files[i]).stat().st_size}\n".encode())
        return digest.hexdigest()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}): check the path and its permissions") from error


def classes_of(folder: Path) -> tuple[str, ...]:
    """The names of its own folders, sorted; hidden ones are none. Raises DataError."""
    return tuple(sorted(entry.name for entry in _entries(folder) if entry.is_dir()))


def images_below(folder: Path) -> Iterator[str]:
    """Paths below folder with an image's extension, each folder once, so that links cannot lead around in circles."""
    seen: set[tuple[int, int]] = set()
    open_folders = [("", folder)]
    while open_folders:
        prefix, here = open_folders.pop()
        status = here.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in _entries(here):
            if entry.is_dir():
                open_folders.append((f"{prefix}{entry.name}/", here / entry.name))
            elif entry.name.rpartition(".")[2].lower() in EXTENSIONS and "." in entry.name and entry.is_file():
                yield prefix + entry.name


def _dimensions(path: Path) -> tuple[int, int]:
    try:
        with path.open("rb") as file:
            whole = os.fstat(file.fileno()).st_size
            return size_by_parts(lambda most: os.pread(file.fileno(), most, 0), whole)
    except OSError:
        return 0, 0  # read() will say why
