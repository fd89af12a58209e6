"""Samples that a quarantine log names, found in a source."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..index import EXTENSIONS
from ..quarantine import read_quarantine
from .listing import Listing
from .sample import UnsafeName, hashed, key_from_path


def skipped_rows(log: str, units: Sequence[Any], listings: Sequence[Listing]) -> list[np.ndarray]:
    """Of each unit, the rows (k,) int64 that the log means: by shard and key where the log's shard is one of the source's, else,
    as for the log of a run on shards packed before, by key alone. Raises DataError for a log that is none."""
    named = {os.path.basename(unit.name()) for unit in units}
    wanted: dict[str, set[str]] = {}
    for each in read_quarantine(log):
        shard = os.path.basename(each.shard)
        for key in _keys(each.key):
            wanted.setdefault(key, set()).add(shard if shard in named else "")
    hashes = np.array(sorted(map(hashed, wanted)), np.uint64)
    found = []
    for unit, listing in zip(units, listings, strict=True):
        rows = np.flatnonzero(np.isin(listing.table["hash"], hashes))
        here = {os.path.basename(unit.name()), ""}
        found.append(np.array([row for row in rows.tolist() if wanted.get(unit.key(listing, row), set()) & here], np.int64))
    return found


def _keys(key: str) -> set[str]:
    """What a key of a log may be called here: itself, or that of its path."""
    try:
        return {key, key_from_path(key, EXTENSIONS)}
    except UnsafeName:
        return {key}
