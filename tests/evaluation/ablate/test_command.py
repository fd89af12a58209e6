"""`viewmill ablate` as its user meets it: what it makes, what it refuses, how it is killed and goes on."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from viewmill import cli
from viewmill.evaluation.ablate import command

from .conftest import ARMS, STUDY

REPOSITORY = Path(__file__).resolve().parents[3]
EVERYTHING = ["judge pixels", "judge base-untrained-0",
              *(f"{what} {arm}-trained-0" for arm in ARMS for what in ("train", "judge"))]


def test_a_study_is_made_once_and_told_in_every_form(words: list[str], tmp_path: Path, here: list[str],
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0 and here == EVERYTHING
    out = tmp_path / "out"
    rows = list(csv.DictReader((out / "results.csv").open()))
    trained = [row for row in rows if row["network"] == "trained"]
    assert [row["arm"] for row in trained] == list(ARMS) and {row["network"] for row in rows} >= {"initialized", "pixels"}
    assert [(row["factor.gray"], row["factor.no-jitter"]) for row in trained] == [
        ("0.2", "base"), ("0", "base"), ("0.2", "no-jitter"), ("0", "no-jitter")]
    assert all(0 <= float(row["accuracy"]) <= 1 and float(row["training_s"]) >= 0 for row in trained)
    effects = list(csv.DictReader((out / "effects.csv").open()))
    assert [(row["kind"], row["of"]) for row in effects] == [
        ("arm", "gray-0"), ("arm", "no-jitter"), ("arm", "gray-0_no-jitter"), ("factor", "gray 0"),
        ("factor", "no-jitter no-jitter"), ("pair", "gray 0 no-jitter no-jitter")]
    one = {row["arm"]: float(row["accuracy"]) for row in trained}
    assert float(effects[0]["difference"]) == pytest.approx(one["gray-0"] - one["base"])
    said = capsys.readouterr().out
    assert (out / "table.md").read_text().strip() in said and "files      " in said and (out / "heat-map-knn.png").is_file()
    page = (out / "report.html").read_text()
    for text in ("What do gray pictures", "gray-0_no-jitter", "The same images for all arms", "data:image/png",
                 "viewmill ablate"):
        assert text in page
    here.clear()
    before = (out / "results.csv").read_bytes()
    assert cli.main(words) == 0 and here == [] and (out / "results.csv").read_bytes() == before
    # More seeds make what they add, and nothing else.
    assert cli.main([*words, "seeds=2"]) == 0
    assert here == [f"{each[:-1]}1" for each in EVERYTHING[1:]]


def test_a_check_makes_nothing(words: list[str], tmp_path: Path, here: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*words, "check=true"]) == 0 and here == []
    said = capsys.readouterr().out
    assert "arms       4, seeds 0 to 0: 4 trainings" in said and "base (the reference): viewmill train simclr" in said
    assert not (tmp_path / "out" / "cells").exists()


@pytest.mark.parametrize(("more", "message"), [
    (["train.model.backbone=resnet19"], "arm base: .*resnet19"),
    (["train.batch_size=500"], "arm base: batch_size=500 needs at least as many images"),
    (["--fast"], "unknown option '--fast'"), (["another"], "which study"), (["sedes=1"], "did you mean 'seeds'"),
    (["slurm=a.sh", "stop=halving"], "stop and budget_minutes look at all cells"),
])
def test_what_cannot_be_is_one_line_before_anything_runs(words: list[str], tmp_path: Path, more: list[str], message: str,
                                                         here: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*words, *more]) == 2 and here == []
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line


def test_a_budget_leaves_out_what_would_exceed_it(words: list[str], tmp_path: Path, here: list[str],
                                                  monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter(range(0, 10**9, 30))  # each making looks at it twice, so takes half a minute
    from viewmill.evaluation.scoreboard import making

    class Slow:
        monotonic = staticmethod(lambda: float(next(clock)))
        strftime, gmtime, sleep = time.strftime, time.gmtime, time.sleep

    monkeypatch.setattr(making, "time", Slow)
    assert cli.main([*words, "budget_minutes=3"]) == 0
    trained = [each for each in here if each.startswith("train")]
    said = capsys.readouterr().out
    assert 0 < len(trained) < 4 and "left out: the budget of 3 minutes" in said and "Missing: " in said
    monkeypatch.undo()


def test_arms_that_were_stopped_are_trained_no_more(words: list[str], tmp_path: Path, here: list[str],
                                                    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "stopped", lambda found, rule, seeds: {"gray-0": 1, "no-jitter": 1} if rule == "halving" else {})
    assert cli.main([*words, "seeds=2", "stop=halving"]) == 0
    trained = [each.removeprefix("train ") for each in here if each.startswith("train")]
    assert trained == [*(f"{arm}-trained-0" for arm in ARMS), "base-trained-1", "gray-0_no-jitter-trained-1"]
    said = capsys.readouterr().out
    assert "gray-0-trained-1: left out: stop=halving after 1 seeds" in said and "1 of 2, stopped after 1" in said
    kept = json.loads((tmp_path / "out" / "table.json").read_text())
    assert "Missing" not in said and kept["stopped"] == {"gray-0": 1, "no-jitter": 1}


def test_parts_make_all_between_them_and_the_whole_collects(words: list[str], tmp_path: Path, here: list[str]) -> None:
    assert cli.main([*words, "part=0/2"]) == 0
    first = list(here)
    assert not (tmp_path / "out" / "table.md").exists()
    assert cli.main([*words, "part=1/2"]) == 0
    assert sorted(here) == sorted(EVERYTHING) and 0 < len(first) < len(here)
    here.clear()
    assert cli.main(words) == 0 and here == [] and (tmp_path / "out" / "report.html").is_file()


def test_a_script_of_an_array_makes_parts_that_are_the_whole(words: list[str], tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "study.sh"
    assert cli.main([*words, f"slurm={script}", "tasks=3"]) == 0
    called = tmp_path / "bin" / "viewmill"
    called.parent.mkdir()
    called.write_text(f"#!/bin/bash\nprintf '%s\\n' \"$@\" >> {tmp_path}/called\n")
    called.chmod(0o755)
    environment = {**os.environ, "PATH": f"{called.parent}:{os.environ['PATH']}"}
    for task in ("0", "1", "2"):
        subprocess.run(["bash", str(script)], check=True, env={**environment, "SLURM_ARRAY_TASK_ID": task})
    said = (tmp_path / "called").read_text().splitlines()
    assert said == [word for task in range(3) for word in (*words, f"part={task}/3")]
    assert "#SBATCH --array=0-2" in script.read_text()


@pytest.mark.slow
def test_killed_half_way_it_repeats_no_finished_arm(words: list[str], tmp_path: Path) -> None:
    changed = STUDY.replace("design: pairwise", "design: one-at-a-time").replace("epochs: 1", "epochs: 3")
    (tmp_path / "tiny.yaml").write_text(changed)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".dev"), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "viewmill.cli", *words]
    study = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    cells = tmp_path / "out" / "cells"
    limit = time.monotonic() + 1000
    while not (cells / "base-trained-0.json").is_file():
        assert study.poll() is None and time.monotonic() < limit, study.communicate()
        time.sleep(0.05)
    study.send_signal(signal.SIGKILL)
    study.communicate(timeout=100)
    assert study.returncode == -signal.SIGKILL
    finished = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in cells.glob("*.json")}
    assert {"pixels.json", "base-untrained-0.json", "base-trained-0.json"} <= finished.keys() < {
        *finished, "no-jitter-trained-0.json"}
    again = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=1500)
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"5 cells, {5 - len(finished)} to be made" in again.stdout
    for name, before in finished.items():
        assert ((cells / name).stat().st_mtime_ns, (cells / name).read_bytes()) == before
        assert f"{name[:-5]}: made" not in again.stdout
    assert len(list(csv.DictReader((tmp_path / "out" / "results.csv").open()))) == 6  # pixels, two untrained, three arms


def test_the_manual_lists_keys_and_studies(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ablate", "--help"]) == 0
    said = capsys.readouterr().out
    assert "budget_minutes=" in said and "seeds=3" in said and "design: one-at-a-time" in said
