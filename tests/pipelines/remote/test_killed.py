"""Trainers on shards behind a failing server, killed at random moments: nothing is lost or wrong, and the cache stays whole."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from ..preemption import train_and_kill, unbroken
from ..streams import SMALL
from .packed import packed, put_on
from .server import Fault, serving


@pytest.mark.slow
def test_killed_while_shards_are_fetched_from_a_failing_server_nothing_is_lost(tmp_path: Path) -> None:
    """Nine worlds of one to three ranks on one cache that holds less than all; one answer in seven fails."""
    folder, seed = packed(tmp_path / "packed", 40, 30), random.SystemRandom().randrange(2**32)
    chance = np.random.default_rng(seed)
    options = {"shuffle": "lanes", "lanes": 12, "window": 1, "epochs": 2, "seed": 3}
    bytes_each = sum(path.stat().st_size for path in folder.iterdir()) // 40

    def fault(path: str) -> Fault | None:
        kinds = [Fault(status=500), Fault(after=5000, then="reset"), Fault(after=300, then="close"), Fault(status=429)]
        return kinds[chance.integers(4)] if chance.random() < 1 / 7 else Fault(chunk=4000, slow_s=0.002)

    with serving() as server:
        url = put_on(server, folder)
        server.fault_of = fault
        expected = unbroken(str(folder), SMALL, 2, options)
        worlds = [1, 2, 3, 1, 3, 2, 3, 1, 2]
        remote = {"cache": str(tmp_path / "cache"), "cache_bytes": 30 * bytes_each, "connections": 2}
        story = train_and_kill(tmp_path / "job", url, SMALL, 2, options, worlds, seed, most_steps=25, remote=remote)
    print(story.told(expected))
    assert story.trained == expected, story.told(expected)
    held = [path for path in (tmp_path / "cache").iterdir() if path.suffix in (".tar", ".index")]
    assert sum(path.stat().st_size for path in held) <= 30 * bytes_each
    packed_bytes = {path.read_bytes() for path in folder.iterdir()}
    assert len(held) > 20 and all(path.read_bytes() in packed_bytes for path in held), "what lies there is whole"
