"""WebDataset tar shards on a local disk, read by offset."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..faults import BadSample, DataError
from ..files import Files
from ..index import EXTENSIONS, ShardIndex
from ..index_file import INDEX_SUFFIX, load_index, read_index_file
from ..survey import survey
from ..tar import members
from .table import OfShards, ShardTable, short_names


class TarSource(OfShards):
    """Samples of local tars, shard after shard. What a packer wrote beside them is used; of other tars an index is made on
    first use, and cached.

    verify: images of which a packer left a checksum are compared with it. Pickles as its paths and sizes; an index that could
    not be cached goes along. Raises DataError for a shard that is missing, cut short or not a tar, for one that changes while
    in use, and where no shard has an image.
    """

    local = True

    def __init__(self, paths: Sequence[Path | str], verify: bool = True) -> None:
        self.paths = [os.path.abspath(path) for path in paths]
        self.verify = verify
        self._files = Files()
        catalogue, unstored = survey(self.paths)
        if not catalogue.shard_sizes.sum():
            raise DataError(_no_images(self.paths))
        self.shard_sizes = np.array(catalogue.shard_sizes, np.int64)
        self.labelled, self.fingerprint = catalogue.labelled, catalogue.fingerprint
        indexes = _LocalIndexes(self.paths, [catalogue.digest(shard) for shard in range(len(catalogue))])
        self._table = ShardTable(self.shard_sizes, short_names(self.paths), indexes, unstored)

    def read(self, index: int) -> bytes:
        shard, row = self._table.locate(index)
        about = self._table.index(shard)
        offset, size = about.place(row)
        try:
            data = self._files.read(self.paths[shard], offset, size)
        except OSError as error:
            raise BadSample(f"cannot be read ({error.strerror})") from error
        if len(data) != size:
            raise BadSample("its shard has become shorter")
        if self.verify and not about.is_whole(row, data):
            raise BadSample("its bytes are not those that were packed (checksum)")
        return data

    def extent(self, index: int) -> tuple[str, int, int]:
        """File, offset and size of what `read` reads."""
        shard, row = self._table.locate(index)
        return self.paths[shard], *self._table.index(shard).place(row)


class _LocalIndexes:
    """Of shards whose digests are known: an index that has another is refused. One with checksums is used whatever has become
    of its tar since: each image is compared with them."""

    def __init__(self, paths: list[str], digests: list[str]) -> None:
        self.paths, self.digests = paths, digests

    def load(self, shard: int, trusted: bool) -> ShardIndex:
        with suppress(OSError, ValueError):
            found, _ = read_index_file(f"{self.paths[shard]}{INDEX_SUFFIX}", trusted)
            if found.checksums and found.digest == self.digests[shard]:
                return found
        found = load_index(self.paths[shard], trusted)
        if found.digest != self.digests[shard]:
            raise DataError(f"{self.paths[shard]}: has changed since it was opened: open the data again, and let nothing "
                            "write to shards in use")
        return found

    def prepare(self, shards: Sequence[int]) -> None:
        """Nothing: they are at hand."""


def _no_images(paths: list[str]) -> str:
    found = Counter("." + member.name.rpartition("/")[2].partition(".")[2].lower() for member in members(Path(paths[0])))
    there = ", ".join(extension for extension, _ in found.most_common(5)) or "no file at all"
    which = f"{paths[0]}" if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more shards"
    return f"{which}: no images, found {there}: images are members named KEY.jpg (or {', '.join(sorted(EXTENSIONS - {'jpg'}))})"
