"""Some samples of another source."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from .keys import NoSuchKey

if TYPE_CHECKING:
    from ..source import Source


class Subset:
    """Some samples of another source, numbered anew."""

    def __init__(self, source: Source, index: np.ndarray) -> None:
        self.source, self.index = source, np.asarray(index, np.int64)
        self.shard_sizes = np.array([len(self.index)], np.int64)
        self.local, self.labelled = source.local, source.labelled
        self.fingerprint = f"{source.fingerprint}:{blake2b(self.index.tobytes(), digest_size=8).hexdigest()}"

    def __len__(self) -> int:
        return len(self.index)

    def size_hw(self, index: np.ndarray) -> np.ndarray:
        return self.source.size_hw(self.index[index])

    def read(self, index: int) -> bytes | np.ndarray:
        return self.source.read(int(self.index[index]))

    def key(self, index: int) -> str:
        return self.source.key(int(self.index[index]))

    def label(self, index: int) -> int:
        return self.source.label(int(self.index[index]))

    def where(self, index: int) -> str:
        return self.source.where(int(self.index[index]))

    def find(self, key: str) -> int:
        there = np.flatnonzero(self.index == self.source.find(key))
        if len(there) == 0:
            raise NoSuchKey(f"{key!r} is not among the {len(self)} samples that are used")
        return int(there[0])
