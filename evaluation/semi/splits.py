"""Which pictures' labels are used, as a list of keys on the disk: for others to take, and for `labels=` to read again."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np

from ...pipelines.order import Order
from ..labels import labelled
from ..pictures import Pictures


def per_class(pictures: Pictures, count: int, seed: int) -> np.ndarray:
    """Rows of `count` labelled pictures of each class, ascending; a fixed random part, the same order in which `labels.labelled`
    takes a share, so that fewer are part of more. Raises ValueError where a class has not so many."""
    chosen = []
    for each in np.unique(pictures.label[pictures.label >= 0]):
        rows = np.flatnonzero(pictures.label == each)
        if len(rows) < count:
            raise ValueError(f"per_class={count}: {pictures.name} has {len(rows)} pictures of class {each}; use fewer")
        chosen.append(rows[Order([len(rows)], seed, shuffle="full").index(int(each), np.arange(len(rows)))][:count])
    return np.sort(np.concatenate(chosen))


def write_split(path: Path, pictures: Pictures, rows: np.ndarray) -> None:
    """Write the keys of these rows, one a line, whole or not at all. Raises ValueError, one line, where such a list would not
    name these pictures alone."""
    keys = [pictures.source.key(int(index)) for index in pictures.index[rows]]
    wanted = set(keys)
    count = Counter(key for key in (pictures.source.key(int(index)) for index in pictures.index) if key in wanted)
    twice = next((key for key in keys if count[key] > 1), None)
    odd = next((key for key in keys if key != key.strip() or len(key.splitlines()) != 1), None)
    if twice is not None or odd is not None:
        what = f"{twice!r} is the key of {count[twice]} pictures" if twice is not None else f"the key {odd!r} is no plain line"
        raise ValueError(f"{pictures.name}: {what}, so that no list of keys can say which are meant")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text("".join(f"{key}\n" for key in keys))
    os.replace(temporary, path)


def read_split(path: Path, pictures: Pictures) -> np.ndarray:
    """The rows of what `write_split` wrote, ascending."""
    return labelled(pictures, str(path), 0)
