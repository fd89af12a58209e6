"""`viewmill pack`: its words, how it is stopped, and how it ends."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ..stopping import Stopped, stoppable
from ..words import split
from ..workers import WorkerDied
from . import left, pack
from .index_only import index_only
from .settings import FLAGS, Settings, manual, settings_of


@dataclass(frozen=True)
class Asked:
    """sources and target as written; target "" where none was given; flags without their dashes."""

    sources: tuple[str, ...]
    target: str
    settings: Settings
    flags: frozenset[str]


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status. Raises ValueError, in one line, for a mistake in it."""
    if {"--help", "-h"} & set(words) or not words:
        print(manual())
        return 0
    asked = read(words)
    try:
        with stoppable():
            if "index-only" in asked.flags:
                summary = index_only(asked.sources, asked.target or None, asked.settings)
            else:
                summary = pack(asked.sources, asked.target, asked.settings, ray="ray" in asked.flags,
                               allow_pipe="allow-pipe" in asked.flags)
    except Stopped as stopped:
        there = "" if "index-only" in asked.flags else f" {left(asked.target)}"
        print(f"viewmill: stopped{there}; nothing half-written is left: the same command goes on", file=sys.stderr, flush=True)
        return 128 + stopped.number
    except WorkerDied as error:
        print(f"viewmill: {error}; the same command goes on", file=sys.stderr, flush=True)
        return 1
    print(json.dumps(summary.as_dict(), ensure_ascii=False, indent=1) if "json" in asked.flags else summary)
    for problem in summary.problems:
        print(f"viewmill: {problem}", file=sys.stderr, flush=True)
    return summary.status


def read(words: Sequence[str]) -> Asked:
    """Raises ValueError for words that fit nothing, naming the nearest that would."""
    places, given, flags = split(words, FLAGS)
    settings = settings_of(given)
    if "index-only" in flags:
        if not places:
            raise ValueError("pack --index-only needs tars: SRC, for example 'train-{0000..0009}.tar'")
        # Local tars keep their indexes beside them; the last word is a place for the indexes of remote ones.
        last = len(places) > 1 and not re.search(r"\.tar$|[*{]", places[-1])
        return Asked(tuple(places[:-1] if last else places), places[-1] if last else "", settings, flags)
    if len(places) < 2:
        raise ValueError("pack needs a source and a folder for the shards: viewmill pack SRC... DST [KEY=VALUE]...; "
                         f"got {' '.join(places) or 'neither'}")
    return Asked(tuple(places[:-1]), places[-1], settings, flags)
