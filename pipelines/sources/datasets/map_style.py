"""Any data set with `len` and `[i]`, read through its own code."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from ...faults import BadSample, DataError
from .items import image_and_label, whole
from .listed import Listed

KEPT_BYTES = 1 << 28
"""Of images that were read for their size, before the engine asks for them."""
UNKNOWN = -2
"""A label that only the sample itself tells."""


class MapSource(Listed):
    """One sample at a time, since nobody knows what its code bears; images are decoded by it, so that size and pixels cost the
    same, and what was read for its size is kept until it is asked for. Pickles if the data set does.

    Raises DataError where it is empty, or its first sample has no image.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset, self.what = dataset, type(dataset).__name__
        self._ready()
        count = len(dataset)
        if not count:
            raise DataError(f"data: this {self.what} is empty")
        lists = (getattr(dataset, name, None) for name in ("targets", "labels"))
        said = next((each for each in lists if _fits(each, count)), None)
        try:
            item = dataset[0]
        except Exception as error:
            raise DataError(f"data: {self.what}[0] raised {type(error).__name__}: {error}: is it a list of samples?") from error
        first = image_and_label(item, f"data: {self.what}[0]")[1]
        labels = np.full(count, UNKNOWN if first >= 0 else -1, np.int64) if said is None else \
            [-1 if (label := whole(each)) is None else label for each in said]
        self._settle(labels)
        self.labelled = self.labelled or first >= 0

    def _ready(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, bytes | np.ndarray] = OrderedDict()
        self._kept_bytes = 0

    def read(self, index: int) -> bytes | np.ndarray:
        with self._lock:
            if index in self._kept:
                image = self._kept.pop(index)
                self._kept_bytes -= _bytes(image)
                return image
            return self._load(index)

    def label(self, index: int) -> int:
        if self.labels[index] == UNKNOWN:
            with self._lock:
                self._keep(index, self._load(index))
        return int(self.labels[index])

    def _size_of(self, index: int) -> tuple[int, int]:
        from ...image_header import image_size

        try:
            with self._lock:
                image = self._load(index)
                self._keep(index, image)
            return image.shape[:2] if isinstance(image, np.ndarray) else image_size(image)
        except BadSample:
            return 0, 0

    def _load(self, index: int) -> bytes | np.ndarray:
        try:
            item = self._dataset[index]
        except Exception as error:  # whatever its code raises
            raise BadSample(f"its data set raised {type(error).__name__}: {error}"[:200]) from error
        image, label = image_and_label(item, self.where(index))
        if hasattr(self, "labels") and self.labels[index] == UNKNOWN:
            self.labels[index] = label
        return image

    def _keep(self, index: int, image: bytes | np.ndarray) -> None:
        if index not in self._kept:
            self._kept[index] = image
            self._kept_bytes += _bytes(image)
        while self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= _bytes(self._kept.popitem(last=False)[1])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_kept": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._ready()


def _fits(labels: Any, count: int) -> bool:
    """Whether these are the labels of all samples: one whole number each."""
    try:
        return labels is not None and len(labels) == count and whole(labels[0]) is not None
    except (TypeError, KeyError, IndexError):
        return False


def _bytes(image: bytes | np.ndarray) -> int:
    return image.nbytes if isinstance(image, np.ndarray) else len(image)
