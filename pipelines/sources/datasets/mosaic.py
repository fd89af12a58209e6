"""MosaicML Streaming's MDS shards that lie on this machine: images by their encoded bytes, past the library's decoding."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from ...faults import BadSample, DataError
from .items import LABELS, image_and_label, whole
from .listed import Listed

ENCODED = ("jpeg", "png", "bytes")
"""Columns whose bytes may be an image's."""


class MosaicSource(Listed):
    """Samples of a streaming.StreamingDataset, through the shards in order; of it nothing but its shards' readers is kept, which
    pickle. Raises DataError for shards that have not been fetched, or that are not MDS."""

    what = "mds"

    def __init__(self, dataset: Any) -> None:
        self._readers = list(dataset.shards)
        other = [reader for reader in self._readers if not hasattr(reader, "column_encodings")]
        if other:
            raise DataError(f"data: shards of {type(other[0]).__name__}, which hold no images: only MDS can be read")
        absent = [path for path in map(_file, self._readers) if not path.is_file()]
        if absent:
            raise DataError(f"data: {len(absent)} of {len(self._readers)} shards are not on this machine, the first is "
                            f"{absent[0].name}: fetch them (dataset.prepare_shard(i) for each i), or copy the folder and "
                            "give local=")
        self._ends = list(accumulate(reader.samples for reader in self._readers))
        columns = self._readers[0].column_names
        self._label = next((name for name in LABELS if name in columns), None)
        self._settle(np.full(self._ends[-1], -1, np.int64))
        self.labelled = self._label is not None

    def read(self, index: int) -> bytes | np.ndarray:
        return image_and_label(self._sample(index), self.where(index))[0]

    def label(self, index: int) -> int:
        label = None if self._label is None else whole(self._sample(index, self._label)[self._label])
        return -1 if label is None else label

    def where(self, index: int) -> str:
        shard = bisect_right(self._ends, index)
        return f"{_file(self._readers[shard]).name}[{index - (self._ends[shard - 1] if shard else 0)}]"

    def _sample(self, index: int, only: str | None = None) -> dict[str, Any]:
        """Columns by name; those of encoded images as they are."""
        from streaming.base.format.mds.encodings import mds_decode

        shard = bisect_right(self._ends, index)
        reader = self._readers[shard]
        try:
            data = reader.get_sample_data(index - (self._ends[shard - 1] if shard else 0))
        except OSError as error:
            raise BadSample(f"cannot be read ({error.strerror})") from error
        at = 4 * sum(not size for size in reader.column_sizes)  # columns of any length begin with their lengths
        lengths = iter(np.frombuffer(data[:at], "<u4").tolist())
        found = {}
        for name, encoding, size in zip(reader.column_names, reader.column_encodings, reader.column_sizes, strict=True):
            length = size or next(lengths)
            value = data[at:at + length]
            at += length
            if only in (None, name):
                found[name] = value if encoding in ENCODED else mds_decode(encoding, value)
        return found


def _file(reader: Any) -> Path:
    return Path(reader.dirname, reader.split or "", reader.raw_data.basename)
