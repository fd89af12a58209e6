"""`viewmill pack`: its words, how it is stopped, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from ...augment.op import nearest
from . import left, pack
from .index_only import index_only
from .settings import FLAGS, Settings, manual, settings_of
from .workers import WorkerDied

_KEY = re.compile(r"(--)?([a-z_]+)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Asked:
    """sources and target as written; target "" where none was given; flags without their dashes."""

    sources: tuple[str, ...]
    target: str
    settings: Settings
    flags: frozenset[str]


class Stopped(BaseException):
    """By a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


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
        print(f"viewmill: {error}", file=sys.stderr, flush=True)
        return 1
    print(json.dumps(summary.as_dict(), ensure_ascii=False, indent=1) if "json" in asked.flags else summary)
    for problem in summary.problems:
        print(f"viewmill: {problem}", file=sys.stderr, flush=True)
    return summary.status


def read(words: Sequence[str]) -> Asked:
    """Raises ValueError for words that fit nothing, naming the nearest that would."""
    places, given, flags = [], {}, set()
    for word in words:
        match = _KEY.fullmatch(word)
        if match:
            given[match[2]] = match[3]
        elif word.startswith("-"):
            if word not in FLAGS:
                raise ValueError(f"unknown option {word!r}; {nearest(word, list(FLAGS))}")
            flags.add(word.removeprefix("--"))
        else:
            places.append(word)
    settings = settings_of(given)
    if "index-only" in flags:
        if not places:
            raise ValueError("pack --index-only needs tars: SRC, for example 'train-{0000..0009}.tar'")
        # Local tars keep their indexes beside them; the last word is a place for the indexes of remote ones.
        last = len(places) > 1 and not re.search(r"\.tar$|[*{]", places[-1])
        return Asked(tuple(places[:-1] if last else places), places[-1] if last else "", settings, frozenset(flags))
    if len(places) < 2:
        raise ValueError("pack needs a source and a folder for the shards: viewmill pack SRC... DST [KEY=VALUE]...; "
                         f"got {' '.join(places) or 'neither'}")
    return Asked(tuple(places[:-1]), places[-1], settings, frozenset(flags))


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGINT and SIGTERM become Stopped; while that is dealt with, another one changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
