"""Killed under torchrun and resumed by other numbers of ranks: what was trained is what an unbroken run would have trained."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .preemption import train_and_kill, twenty_kills, unbroken
from .streams import SMALL, folder


def test_killed_at_random_moments_and_resumed_by_other_worlds_nothing_is_lost(tmp_path: Path) -> None:
    """Two, three and one rank of torchrun; with bad samples, from a folder. The seed is in each failure's message."""
    data, seed = str(folder(tmp_path, 400, broken=range(7, 400, 20))), random.SystemRandom().randrange(2**32)
    options = {"max_bad": 0.5, "last": "drop"}
    expected = unbroken(data, SMALL, 2, options)
    story = train_and_kill(tmp_path / "job", data, SMALL, 2, options, [2, 3, 1], seed)
    assert story.trained == expected[:len(expected) // 4 * 4], story.told(expected)


@pytest.mark.slow
def test_twenty_kills_with_changing_world_sizes_train_on_the_unbroken_sequence(tmp_path: Path) -> None:
    story, expected = twenty_kills(tmp_path, 20, random.SystemRandom().randrange(2**32))
    print(story.told(expected))
    assert sum(story.kills.values()) == 20 and story.trained == expected, story.told(expected)
