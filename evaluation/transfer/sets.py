"""The table of twelve data sets: which metric each is reported by, and where a folder keeps its parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ...augment.op import nearest

Metric = Literal["top1", "mean_per_class", "map_11_point"]
METRICS: tuple[str, ...] = get_args(Metric)

_TOP1 = ("food101", "food", "cifar10", "cifar100", "birdsnap", "sun397", "stanfordcars", "cars", "dtd")
_MEAN_PER_CLASS = ("fgvcaircraft", "aircraft", "oxfordpets", "oxfordiiitpet", "pets", "caltech101", "flowers102",
                   "oxfordflowers102", "flowers")
_MAP = ("voc2007", "voc07", "pascalvoc2007")
OF_SET: dict[str, Metric] = {**dict.fromkeys(_TOP1, "top1"), **dict.fromkeys(_MEAN_PER_CLASS, "mean_per_class"),
                             **dict.fromkeys(_MAP, "map_11_point")}
"""By a set's name, in small letters and digits alone. Source: arXiv:1805.08974; SimCLR, arXiv:2002.05709."""


def metric_of(name: str) -> Metric | None:
    """What the table reports a set by, however its name is spelt; None for a set that it has not."""
    return OF_SET.get(re.sub(r"[^a-z0-9]", "", name.lower()))


def mean_per_class(correct: np.ndarray, label: np.ndarray) -> float:
    """The mean, over the classes that there are, of the share of a class's pictures that is answered rightly. correct (N,) bool,
    label (N,)."""
    _, place = np.unique(label, return_inverse=True)
    return float((np.bincount(place, correct) / np.bincount(place)).mean())


def in_root(root: Path, wanted: Sequence[str] | None = None) -> dict[str, dict[str, str]]:
    """{set: {"data", "test_data", and "val_data" where a set has it}} of a folder that holds a folder for each: its trainval, or
    train and val, and test, folders or packed shards; train-*.tar and so on; or VOC's lists. Without a test val is that. wanted:
    these alone. Raises ValueError, one line, where there are none, or one that is wanted has not both parts."""
    if not root.is_dir():
        raise ValueError(f"root={root}: there is no such folder")
    folders = {path.name: path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    strange = next((name for name in wanted or () if name not in folders), None)
    if strange is not None:
        raise ValueError(f"root={root} has no folder {strange!r}; {nearest(strange, list(folders))}")
    found = {}
    for name in wanted or folders:
        parts = {"data": _part(folders[name], ("trainval", "train")), "test_data": _part(folders[name], ("test", "val"))}
        if all(parts.values()):
            found[name] = {key: str(value) for key, value in parts.items()}
            trainval, val, test = (_part(folders[name], (part,)) for part in ("trainval", "val", "test"))
            if trainval is None and val is not None and test is not None:
                found[name]["val_data"] = str(val)
        elif wanted:
            missing = next(key for key, value in parts.items() if value is None)
            raise ValueError(f"{folders[name]} has no {'train' if missing == 'data' else 'test'}, neither a folder nor shards; "
                             f"say where, {name}.{missing}=PATTERN")
    if not found:
        raise ValueError(f"root={root}: none of its {len(folders)} folders has a train and a test, folders or shards")
    return found


def _part(folder: Path, names: Sequence[str]) -> Path | str | None:
    for name in names:
        listed = folder / "ImageSets" / "Main" / f"{name}.txt"
        if listed.is_file():
            return listed
        if (folder / name).is_dir():
            return folder / name
        if any(folder.glob(f"{name}-*.tar")):
            return f"{folder}/{name}-*.tar"
    return None
