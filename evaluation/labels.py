"""Which of the training pictures may show their labels: a share of each class, or those that a list names."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..pipelines.order import Order
from .pictures import Pictures


def check_labels(labels: Any, seed: int) -> None:
    """Raises ValueError, one line, unless labels are a share in (0, 1], the name of a file, or None."""
    share = isinstance(labels, int | float) and not isinstance(labels, bool)
    if not (labels is None or (isinstance(labels, str) and labels) or (share and 0 < labels <= 1)):
        raise ValueError(f"labels needs a share of each class in (0, 1], for example 0.01, or a file of keys, got {labels!r}")
    if seed < 0:
        raise ValueError(f"labels_seed needs a whole number of at least 0, got {seed}")


def labelled(pictures: Pictures, labels: Any, seed: int) -> np.ndarray:
    """Rows of the pictures whose labels are used, ascending, (n,) int64; those without a label are never among them.

    labels: a share: so much of each class, rounded, one at least, a fixed random part; a smaller share of the same seed is part
    of a larger one. A file: one key a line, as the source has it, or only its last part without what follows the dot, as
    SimCLR's imagenet_subsets list files. None: all. Raises ValueError, one line, for a file that cannot be read, or names a
    picture that is not there.
    """
    there = np.flatnonzero(pictures.label >= 0)
    if labels is None or len(there) == 0:
        return there
    if isinstance(labels, str):
        return _listed(pictures, labels)
    chosen = []
    for each in np.unique(pictures.label[there]):
        rows = np.flatnonzero(pictures.label == each)
        mixed = rows[Order([len(rows)], seed, shuffle="full").index(int(each), np.arange(len(rows)))]
        chosen.append(mixed[: max(round(float(labels) * len(rows)), 1)])
    return np.sort(np.concatenate(chosen))


def _listed(pictures: Pictures, file: str) -> np.ndarray:
    try:
        wanted = [line.strip() for line in Path(file).read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"labels={file} is no share and no file of keys that can be read ({type(error).__name__})") from error
    if not wanted:
        raise ValueError(f"labels={file} lists no picture")
    by_key = {pictures.source.key(int(index)): row for row, index in enumerate(pictures.index)}
    by_stem: dict[str, int | None] = {}
    for key, place in by_key.items():
        stem = PurePosixPath(key).stem
        by_stem[stem] = None if stem in by_stem else place
    found = []
    for key in wanted:
        row = by_key.get(key, by_stem.get(PurePosixPath(key).stem, -1))
        if row is None:
            raise ValueError(f"labels={file}: {key!r} is the end of several keys of {pictures.name}; give whole keys")
        if row < 0 or pictures.label[row] < 0:
            raise ValueError(f"labels={file}: {pictures.name} has no labelled picture {key!r}")
        found.append(row)
    return np.unique(np.array(found, np.int64))
