"""What is read of a run's folder, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from viewmill.evaluation.report.runs import names, read
from viewmill.evaluation.report.secrets import HIDDEN, without_secrets

from .folders import write_result, write_run


def test_seconds_rates_and_waits_are_those_of_the_whole_run(tmp_path: Path) -> None:
    (run,) = read([write_run(tmp_path / "a")])
    # 60 steps of 8 images at 100 a second.
    assert run.seconds == pytest.approx(4.8) and run.images_per_s == pytest.approx(100) and run.data_wait == pytest.approx(0.02)
    assert (run.step, run.total, run.last("loss"), run.points("knn")[0]) == (60, 60, 2.0, (0, 0.0, 0.3))


def test_a_wait_counts_for_as_long_as_it_took(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    rows = [{"step": 1, "epoch": 0.1, "images_per_s": 8.0, "data_wait": 0.5},
            {"step": 2, "epoch": 0.2, "images_per_s": 2.0, "data_wait": 0.1}]
    (tmp_path / "a" / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (run,) = read([tmp_path / "a"])
    assert run.seconds == 1 + 4 and run.data_wait == pytest.approx((0.5 * 1 + 0.1 * 4) / 5) and run.images_per_s == 16 / 5


def test_runs_go_by_what_sets_them_apart() -> None:
    assert names([Path("runs/a/x/run"), Path("runs/b/y/run")]) == ["a/x", "b/y"]
    assert names([Path("runs/a"), Path("runs/a/b")]) == ["a", "a/b"]
    assert names([Path("runs/a/run")]) == ["runs/a/run"]


def test_what_is_no_run_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    write_run(tmp_path / "cell" / "run")
    with pytest.raises(ValueError, match=r"cell is no folder of a run, it has no config.json; did you mean .*run\?$"):
        read([tmp_path / "cell"])
    with pytest.raises(ValueError, match=r"name the folder that `viewmill train \.\.\. out=FOLDER` wrote$"):
        read([tmp_path / "nowhere"])
    (tmp_path / "cell" / "run" / "config.json").write_text('{"config": {}}')
    with pytest.raises(ValueError, match=r"config\.json cannot be read .* it should be what a run wrote"):
        read([tmp_path / "cell" / "run"])


def test_results_that_are_half_written_or_somebody_elses_are_left_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    write_result(folder)
    (folder / "eval" / "half.json").write_text('{"eval": "kn')
    (folder / "eval" / "other.json").write_text("[1, 2]")
    (run,) = read([folder])
    assert list(run.results) == ["knn.json"]


def test_secrets_are_not_shown() -> None:
    assert without_secrets("storage_options", {"secret": "abc"}) == HIDDEN and without_secrets("storage_options", None) is None
    assert without_secrets("data", "https://me:pw@host/a.tar") == "https://host/a.tar"
    assert without_secrets("data", ["s3://b/a.tar?X-Amz-Signature=abc&x=1"]) == [f"s3://b/a.tar?X-Amz-Signature={HIDDEN}&x=1"]
    assert without_secrets("data", "data/train-{0..9}.tar") == "data/train-{0..9}.tar"
