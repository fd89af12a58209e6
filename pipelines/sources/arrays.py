"""Images in memory."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np

from ..faults import DataError
from .keys import not_found

_LOOKED_AT = 256
"""Images whose pixels enter the fingerprint, evenly spaced."""


class ArraySource:
    """Samples are uint8 (H, W, 3), (H, W, 1) or (H, W) each: one array (N, H, W, 3), or a list. labels (N,): whole
    numbers, -1 for none. Keys are numbers. Pickles with all its images. Raises DataError for anything else."""

    local = True

    def __init__(self, images: Any, labels: Any = None) -> None:
        stacked = np.asarray(images) if hasattr(images, "__array__") else None
        if stacked is not None and (stacked.ndim not in (3, 4) or (stacked.ndim == 3 and stacked.shape[2] == 3)):
            raise DataError(f"arrays: need uint8 (N, H, W, 3), got shape {stacked.shape}: one image is a set with N = 1")
        self.images = list(map(np.asarray, images)) if stacked is None else stacked
        count = len(self.images)
        if count == 0:
            raise DataError("arrays: no image, got 0 samples: give one at least")
        for number, image in enumerate(self.images if stacked is None else self.images[:1]):
            fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3))
            if image.dtype != np.uint8 or not fits or image.size == 0:
                raise DataError(f"arrays[{number}]: needs uint8 (H, W, 3), (H, W, 1) or (H, W), got {image.dtype} "
                                f"{image.shape}: convert it (levels 0..255, channels last)")
        self.labels = np.full(count, -1, np.int64) if labels is None else np.asarray(labels)
        if self.labels.shape != (count,) or self.labels.dtype.kind not in "iu":
            raise DataError(f"labels: need {count} whole numbers, one an image, got {self.labels.dtype} {self.labels.shape}")
        self.labels = self.labels.astype(np.int64)
        self.labelled = bool((self.labels >= 0).any())
        self.shard_sizes = np.array([count], np.int64)
        self.fingerprint = self._fingerprint()

    def __len__(self) -> int:
        return len(self.images)

    def size_hw(self, index: np.ndarray) -> np.ndarray:
        return np.array([self.images[i].shape[:2] for i in np.asarray(index).tolist()], np.int32).reshape(-1, 2)

    def read(self, index: int) -> np.ndarray:
        return self.images[index]

    def key(self, index: int) -> str:
        return str(range(len(self))[index])

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def where(self, index: int) -> str:
        return f"arrays[{index}]"

    def find(self, key: str) -> int:
        if not (key.isascii() and key.isdigit() and int(key) < len(self)):
            raise not_found(key, [f"0..{len(self) - 1}"])
        return int(key)

    def _fingerprint(self) -> str:
        digest = blake2b(np.ascontiguousarray(self.labels).tobytes(), digest_size=16)
        for i in np.unique(np.linspace(0, len(self) - 1, _LOOKED_AT).astype(np.int64)).tolist():
            image = self.images[i]
            digest.update(str(image.shape).encode() + np.ascontiguousarray(image).tobytes())
        return digest.hexdigest()
