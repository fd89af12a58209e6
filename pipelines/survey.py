"""What is known of local tars before any is opened: from the catalogue beside them, from the user's cache, else from the tars."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np

from .cache import cache_folder, write_whole
from .catalogue import Catalogue, ShardEntry, file_state, read_catalogue
from .faults import DataError
from .index import ShardIndex
from .index_file import load_index

QUIET_SECONDS = 3.0


def survey(paths: Sequence[str]) -> tuple[Catalogue, dict[int, ShardIndex]]:
    """The shards, in order, with whole paths for names; and the indexes, by shard, that could not be kept in a file.

    An entry counts where the tar still has its length (of a packer's catalogue) or its length and time of change (of the
    user's cache). Raises DataError for a tar that is missing or damaged.
    """
    states = np.array([file_state(path) for path in paths], np.int64).reshape(-1, 2)
    known = _packed(paths)
    if known is not None and np.array_equal(known.tar_bytes, states[:, 0]):
        return known, {}
    file = _cache_file(paths)
    kept = _kept(file)
    if kept is not None and np.array_equal(kept.tar_bytes, states[:, 0]) and np.array_equal(kept.mtime_ns, states[:, 1]):
        return kept, {}
    entries, unstored = [], {}
    with _Progress(len(paths)) as progress:
        for shard, (path, (size, mtime_ns)) in enumerate(zip(paths, states.tolist(), strict=True)):
            entry = None if known is None else known.entry(shard)
            if entry is None or entry.tar_bytes != size:
                index = load_index(path)
                labelled = bool((index.records["label"] >= 0).any())
                entry = ShardEntry(path, len(index), size, 0, labelled, index.digest, mtime_ns=mtime_ns)
                if not index.stored:
                    unstored[shard] = index
            entries.append(entry)
            progress.step()
    found = Catalogue.of(entries)
    if known is None and not unstored:
        write_whole(file, found.to_bytes())
    return found, unstored


def _packed(paths: Sequence[str]) -> Catalogue | None:
    """From the catalogue beside the tars; None where they do not lie in one folder, or it does not know them all."""
    folders = {os.path.dirname(path) for path in paths}
    catalogue = read_catalogue(Path(folders.pop())) if len(folders) == 1 else None
    if catalogue is None:
        return None
    try:
        return catalogue.select([os.path.basename(path) for path in paths]).renamed(paths)
    except DataError:
        return None


def _kept(file: Path) -> Catalogue | None:
    try:
        return Catalogue.from_bytes(file.read_bytes())
    except (OSError, ValueError):
        return None


def _cache_file(paths: Sequence[str]) -> Path:
    name = blake2b(b"\0".join(os.fsencode(path) for path in paths), digest_size=16).hexdigest()
    return cache_folder() / "index" / f"{name}.catalogue"


class _Progress:
    """Says on stderr that shards are being indexed, once it takes longer than a few seconds."""

    def __init__(self, count: int) -> None:
        self.count, self.done, self.began, self.said = count, 0, time.monotonic(), False

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.said:
            print(file=sys.stderr)

    def step(self) -> None:
        self.done += 1
        if time.monotonic() - self.began > QUIET_SECONDS:
            self.said = True
            print(f"\rindexing shards (once): {self.done} of {self.count}", end="", file=sys.stderr, flush=True)
