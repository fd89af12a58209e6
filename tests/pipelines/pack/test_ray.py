"""Over a Ray cluster: a local one of two processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from viewmill.pipelines.faults import DataError

from ..shards import shard
from .packed import packed, sums

pytest.importorskip("ray")


@pytest.mark.slow
def test_two_processes_of_ray_write_the_same_bytes(tmp_path: Path) -> None:
    source = shard(tmp_path / "x.tar", 40)
    packed(source, tmp_path / "here", shard_samples=6, longest=6)
    packed(source, tmp_path / "ray", shard_samples=6, longest=6, ray=True, address="local", workers=2)
    assert sums(tmp_path / "ray") == sums(tmp_path / "here") and len(sums(tmp_path / "ray")) == 15


@pytest.mark.slow
def test_what_a_task_raises_is_raised_and_no_cluster_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a tar"):
        packed(tmp_path / "x.tar", tmp_path / "out", ray=True, address="local", workers=2)
    with pytest.raises(ValueError, match=r"no Ray cluster there.*ray start --head"):
        packed(shard(tmp_path / "y.tar", 3), tmp_path / "out2", ray=True, address="auto")
