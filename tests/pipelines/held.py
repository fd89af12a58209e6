"""A source whose encoded images are held in memory, otherwise another's: what reading them from files costs is what it saves."""

from __future__ import annotations

import numpy as np
from viewmill.pipelines.source import Source


class HeldSource:
    """The samples of a source, `read` from a list of bytes. Pickles with all of them."""

    local = True

    def __init__(self, source: Source) -> None:
        self.source = source
        self.shard_sizes, self.fingerprint, self.labelled = source.shard_sizes, source.fingerprint, source.labelled
        self.held = [bytes(source.read(i)) for i in range(len(source))]

    def __len__(self) -> int:
        return len(self.held)

    def read(self, index: int) -> bytes:
        return self.held[index]

    def size_hw(self, index: np.ndarray) -> np.ndarray:
        return self.source.size_hw(index)

    def key(self, index: int) -> str:
        return self.source.key(index)

    def label(self, index: int) -> int:
        return self.source.label(index)

    def where(self, index: int) -> str:
        return self.source.where(index)

    def find(self, key: str) -> int:
        return self.source.find(key)
