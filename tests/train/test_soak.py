"""Nothing is lost by being killed: the small form of `python -m tests.train.soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from .soak import KINDS, soak


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_is_the_run_that_is_not(tmp_path: Path) -> None:
    counted = soak(tmp_path, steps=120, faults=5, seed=2026)
    assert sum(counted[kind] for kind in KINDS) >= 3 and counted["rank"] > 0, counted
