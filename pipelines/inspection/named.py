"""The entries of a quarantine log, handed to the pieces of the data in which they may lie."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..quarantine import Quarantined
from .shard import Shard
from .work import Named, Piece

Asked = dict[str, list[Named]]
"""Entries by key."""


def asked_of(pieces: Sequence[Piece], log: Sequence[Quarantined]) -> list[Asked]:
    """For each piece, its entries: by shard and key where the log's shard is one of the data's, else, as for the log of a run on
    shards packed since or before, by key alone."""
    shards = [os.path.basename(piece.name) if isinstance(piece, Shard) else "" for piece in pieces]
    there = set(shards) - {""}
    of_shard: dict[str, Asked] = {}
    everywhere: Asked = {}
    for number, entry in enumerate(log):
        shard = os.path.basename(entry.shard)
        if shard in there:
            offset = entry.offset if entry.size else -1
            of_shard.setdefault(shard, {}).setdefault(entry.key, []).append(Named(number, offset))
        else:
            everywhere.setdefault(entry.key, []).append(Named(number))
    found = []
    for piece, shard in zip(pieces, shards, strict=True):
        mine = of_shard.get(shard, {})
        if not mine and not isinstance(piece, Shard):
            own = set(piece.files)
            found.append({key: entries for key, entries in everywhere.items() if key in own})
        else:
            found.append({key: [*mine.get(key, []), *everywhere.get(key, [])] for key in mine.keys() | everywhere.keys()})
    return found
