"""What sources of numbered samples have in common."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from ...faults import BadSample
from ...image_header import image_size
from ..keys import not_found

LOOKED_AT = 64
"""Samples whose bytes enter the fingerprint, evenly spaced; of all, the number does."""


class Listed:
    """Samples 0..n-1 of one list, whose keys are their numbers. A subclass reads: `read(index)`, bytes or pixels; and calls
    `_settle` when it can. what: what `where` calls the list."""

    local = True
    what = "data"

    def _settle(self, labels: Sequence[int] | np.ndarray) -> None:
        """labels (n,): -1 where there is none."""
        self.labels = np.asarray(labels, np.int64)
        self.labelled = bool((self.labels >= 0).any())
        self.shard_sizes = np.array([len(self.labels)], np.int64)
        self._sizes = np.full((len(self.labels), 2), -1, np.int32)
        self.fingerprint = self._fingerprint()

    def read(self, index: int) -> bytes | np.ndarray:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.labels)

    def size_hw(self, index: np.ndarray) -> np.ndarray:
        """Height and width (N, 2) int32 of samples (N,); 0, 0 where the header cannot be read. Looked up once."""
        index = np.asarray(index, np.int64).reshape(-1)
        for i in index[self._sizes[index, 0] < 0].tolist():
            self._sizes[i] = self._size_of(i)
        return self._sizes[index]

    def _size_of(self, index: int) -> tuple[int, int]:
        try:
            data = self.read(index)
            return data.shape[:2] if isinstance(data, np.ndarray) else image_size(data)
        except BadSample:
            return 0, 0  # read() will say why

    def key(self, index: int) -> str:
        return str(range(len(self))[index])

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def where(self, index: int) -> str:
        return f"{self.what}[{index}]"

    def find(self, key: str) -> int:
        if not (key.isascii() and key.isdigit() and int(key) < len(self)):
            raise not_found(key, [f"0..{len(self) - 1}"])
        return int(key)

    def _fingerprint(self) -> str:
        digest = blake2b(str(len(self)).encode(), digest_size=16)
        for i in np.unique(np.linspace(0, len(self) - 1, LOOKED_AT).astype(np.int64)).tolist():
            try:
                data = self.read(i)
                digest.update(str(getattr(data, "shape", len(data))).encode() + bytes(data[:4096]))
            except BadSample as error:
                digest.update(str(error).encode())
        return digest.hexdigest()
