"""torchvision's data sets whose images can be had without their code: files of folders, and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...faults import BadSample, DataError
from ...image_header import size_by_parts
from ..arrays import ArraySource
from ..keys import nearest_keys, not_found
from .listed import Listed

if TYPE_CHECKING:
    from ...source import Source

ARRAYS = ("CIFAR10", "CIFAR100", "MNIST", "STL10", "SVHN")
"""With their children: FashionMNIST, KMNIST, EMNIST ..."""


class FilesSource(Listed):
    """Image files with labels (n,). A key is a file's path."""

    what = "files"

    def __init__(self, files: list[str], labels: list[int]) -> None:
        if not files:
            raise DataError("data: a list of no files")
        self.files = files
        self._settle(labels)

    def read(self, index: int) -> bytes:
        try:
            with open(self.files[index], "rb", buffering=0) as file:
                return file.readall()
        except OSError as error:
            raise BadSample(f"cannot be read ({error.strerror})") from error

    def extent(self, index: int) -> tuple[Path, int, int]:
        """File, offset and size of what `read` reads. Raises OSError."""
        path = Path(self.files[index])
        return path, 0, path.stat().st_size

    def key(self, index: int) -> str:
        return self.files[index]

    def where(self, index: int) -> str:
        return self.files[index]

    def find(self, key: str) -> int:
        if key not in self.files:
            raise not_found(key, nearest_keys(key, self.files))
        return self.files.index(key)

    def _size_of(self, index: int) -> tuple[int, int]:
        try:
            with open(self.files[index], "rb", buffering=0) as file:
                return size_by_parts(lambda most: (file.seek(0), file.read(most))[1], Path(self.files[index]).stat().st_size)
        except OSError:
            return 0, 0


def known(data: Any) -> Source | None:
    """None for a data set that is to be read through its own code."""
    ours = [cls for cls in type(data).__mro__ if cls.__module__.startswith("torchvision.datasets")]
    names = {cls.__name__ for cls in ours}
    if type(data).__getitem__ not in [cls.__dict__.get("__getitem__") for cls in ours]:
        return None  # a user's own reading
    if "DatasetFolder" in names and getattr(data.loader, "__module__", "").startswith("torchvision."):
        return FilesSource([str(path) for path, _ in data.samples], [int(label) for _, label in data.samples])
    if names.isdisjoint(ARRAYS):
        return None
    images, labels = np.asarray(data.data), getattr(data, "targets", None)
    labels = getattr(data, "labels", None) if labels is None else labels
    if images.ndim == 4 and images.shape[1] == 3 and images.shape[3] != 3:  # channels first: STL10, SVHN
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    if images.ndim == 3:
        return ArraySource(list(images), None if labels is None else np.asarray(labels))
    return ArraySource(images, None if labels is None else np.asarray(labels))
