"""The benchmark beside DALI's own crops runs, and refuses what it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest
from viewmill.pipelines import bench_dali
from viewmill.pipelines.source import open_source

from .streams import SMALL, folder

nvidia = pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")


def test_every_way_is_measured_beside_dalis_own(tmp_path: Path) -> None:
    found = bench_dali.bench(open_source(folder(tmp_path, 12)), SMALL, threads=1, rounds=2, images=8, batch_size=4)
    assert list(found) == ["random_resized_crop", "pillow", "fused"]
    assert found["random_resized_crop"][1:] == (1.0, 1.0)
    assert all(milliseconds > 0 and ratio > 0 for milliseconds, ratio, _ in found.values())


@pytest.mark.parametrize("words", [[], ["dino"], ["data=x", "speed=9"]])
def test_other_words_get_the_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_dali.main(words) == 2 and "bench_dali" in capsys.readouterr().err
