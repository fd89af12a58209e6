"""Cores by hand: the affinity mask, a container's quota of either version, and the ranks that share them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from viewmill.pipelines import placement
from viewmill.pipelines.memory import groups


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)


@pytest.mark.parametrize(("files", "expected"), [
    ({}, 8),
    ({"cpu.max": "max 100000\n"}, 8),
    ({"cpu.max": "300000 100000\n"}, 3),
    ({"cpu.max": "150000 100000\n"}, 1),
    ({"cpu.max": "50000 100000\n"}, 1),
    ({"cpu.max": "6400000 100000\n"}, 8),  # a quota above the mask adds no core
    ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, 8),
    ({"cpu.cfs_quota_us": "500000\n", "cpu.cfs_period_us": "100000\n"}, 5),
    ({"cpu.max": "nonsense"}, 8),
])
def test_a_containers_quota_bounds_the_cores(files: dict[str, str], expected: int, tmp_path: Path, eight_cores: None,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(placement, "groups", lambda controller: [tmp_path])
    assert placement.cores() == expected


@pytest.mark.parametrize(("ranks", "expected"), [("1", 6), ("2", 3), ("4", 1), ("12", 1), ("some", 6)])
def test_ranks_share_the_quota(ranks: str, expected: int, tmp_path: Path, eight_cores: None,
                               monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("600000 100000\n")
    monkeypatch.setattr(placement, "groups", lambda controller: [tmp_path])
    monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert placement.cores() == expected


@pytest.mark.parametrize(("own", "made", "expected"), [
    ("0::/a/b\n", ["a/b"], ["", "a/b", "a"]),                            # version 2: groups above bound, too
    ("4:memory:/x\n3:cpu,cpuacct:/a\n", ["cpu/a", "memory/x"], ["", "cpu", "cpu/a"]),  # version 1: a tree for each controller
    ("0::/gone\n", [], [""]),                                            # in a container the path may be the host's
])
def test_limits_are_looked_for_from_the_root_to_the_own_group(own: str, made: list[str], expected: list[str],
                                                              tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    root.mkdir()
    for folder in made:
        (root / folder).mkdir(parents=True)
    (tmp_path / "own").write_text(own)
    assert groups("cpu", root, tmp_path / "own") == [root / folder for folder in expected]
