"""`viewmill check`: its words, how it is stopped, and how it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from ..progress import Progress
from ..stopping import Stopped, stoppable
from ..words import split
from ..workers import WorkerDied
from . import check
from .settings import FLAGS, manual, settings_of


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status: 0 for whole, 1 for damaged. Raises ValueError, in one line, for a mistake in it."""
    if {"--help", "-h"} & set(words) or not words:
        print(manual())
        return 0
    data, given, flags = split(words, FLAGS)
    settings = settings_of(given)
    if not data:
        raise ValueError("check needs data: viewmill check DATA... [KEY=VALUE]..., for example 'train-{0000..0009}.tar'")
    progress = Progress()
    try:
        with stoppable():
            report = check(data, settings, progress)
    except Stopped as stopped:
        print(f"viewmill: stopped while {progress}; nothing was changed", file=sys.stderr, flush=True)
        return 128 + stopped.number
    except WorkerDied as error:
        print(f"viewmill: {error}", file=sys.stderr, flush=True)
        return 1
    print(json.dumps(report.as_dict(), indent=1) if "json" in flags else report, flush=True)
    return 0 if report.whole(strict="strict" in flags) else 1
