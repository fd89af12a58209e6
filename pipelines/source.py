"""What a sample is and where it lies: the face of all sources, and which of them is meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from .catalogue import CATALOGUE, read_catalogue
from .faults import BadSample, DataError
from .patterns import expand, is_remote
from .remote.options import Remote
from .sources.arrays import ArraySource
from .sources.datasets import encoded_source, is_data_set
from .sources.folder import FolderSource
from .sources.keys import NoSuchKey
from .sources.remote import RemoteSource
from .sources.tar import TarSource

__all__ = ["ArraySource", "BadSample", "DataError", "FolderSource", "NoSuchKey", "RemoteSource", "Source", "TarSource",
           "open_source"]


@runtime_checkable
class Source(Protocol):
    """Samples 0..n-1, counted through the shards in order, so that appended shards change no number.

    shard_sizes (S,) int64; local: any sample costs the same to read; fingerprint: changes with the data, not with where
    they lie; labelled: some sample has a label. A source is read by many threads at once, and is pickled for a sidecar.
    """

    shard_sizes: np.ndarray
    local: bool
    fingerprint: str
    labelled: bool

    def __len__(self) -> int: ...

    def size_hw(self, index: np.ndarray) -> np.ndarray:
        """Height and width (N, 2) int32 of samples (N,); 0, 0 where the header cannot be read."""
        ...

    def read(self, index: int) -> bytes | np.ndarray:
        """An encoded image, or uint8 (H, W, 3). Raises BadSample where it cannot be read."""
        ...

    def key(self, index: int) -> str: ...

    def label(self, index: int) -> int:
        """-1 where there is none."""
        ...

    def where(self, index: int) -> str:
        """The place to look for a sample, as in "train-0003.tar: 00017.jpg"."""
        ...

    def find(self, key: str) -> int:
        """The number of the sample of a key. Raises NoSuchKey, naming near keys, or the places of a key used twice."""
        ...


Data: TypeAlias = "str | Path | Sequence[Any] | np.ndarray | Source"


def open_source(source: Data, verify: bool = True, remote: Remote | None = None) -> Source:
    """The source that is meant by

    - tar shards: a path, a brace pattern, a glob, or a list of them;
    - a folder of packed shards, with their catalogue: all of them;
    - addresses of shards, or of a folder of them, with their catalogue (s3://, gs://, hf://, https:// and whatever else fsspec
      opens): as patterns and lists too; `remote` says how they are had;
    - a folder of images: its folders are classes, numbered by name; without any it is unlabelled;
    - arrays: uint8 (N, H, W, 3), a list of (H, W, 3), or a pair of either with labels (N,);
    - a Source, taken as it is;
    - a data set of another library: torchvision's, a table of Hugging Face's `datasets`, MosaicML's or LitData's
      StreamingDataset, a webdataset pipeline that only reads, or any with `len` and `[i]`; see `sources.datasets`.

    verify: images of packed shards are compared with their checksums.

    Raises DataError, in one line, where there is no image, and for whatever cannot be read.
    """
    texts = [source] if isinstance(source, str) else source if isinstance(source, list | tuple) else []
    if texts and all(isinstance(text, str) and is_remote(text) for text in texts):
        return RemoteSource(list(texts), remote, verify)
    if isinstance(source, str | Path):
        paths = expand([source])
        return _of_folder(paths[0], verify) if len(paths) == 1 and paths[0].is_dir() else TarSource(_files(paths), verify)
    if isinstance(source, np.ndarray) or hasattr(source, "__array__"):
        return ArraySource(source)
    if isinstance(source, list | tuple):
        if not source:
            raise DataError("data: an empty list: give tar shards, a folder of images, or arrays")
        if all(isinstance(each, str | Path) for each in source):
            return TarSource(_files(expand(source)), verify)
        if isinstance(source, tuple) and len(source) == 2 and np.ndim(source[1]) == 1:
            return ArraySource(source[0], source[1])
        return ArraySource(source)
    if isinstance(source, Source):
        return source
    if is_data_set(source):
        found = encoded_source(source)
        return open_source(found, verify, remote) if isinstance(found, list) else found
    raise DataError(f"data: cannot read images from a {type(source).__name__}: give tar shards (path, pattern, list), "
                    "a folder of images, arrays, a data set, or a Source")


def _of_folder(folder: Path, verify: bool) -> Source:
    packed = read_catalogue(folder)
    if packed is not None:
        return TarSource([folder / name for name in packed.names], verify)
    tars = sorted(path.name for path in folder.glob("*.tar"))
    if tars:  # never all of them unasked: training and test shards often lie side by side
        raise DataError(f"{folder}: a folder of {len(tars)} tars, from {tars[0]} to {tars[-1]} and no {CATALOGUE}: say "
                        f"which, as in {folder / 'NAME-*.tar'}")
    return FolderSource(folder)


def _files(paths: list[Path]) -> list[Path]:
    folders = [path for path in paths if path.is_dir()]
    if folders:
        raise DataError(f"{folders[0]}: a folder among {len(paths)} shards: give one folder of images alone, or tar shards only")
    return paths
