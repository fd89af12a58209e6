"""`viewmill bench methods` as its user meets it: what it makes, what it does not make again, how it is stopped and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewmill import cli, train
from viewmill.evaluation.scoreboard import judging
from viewmill.evaluation.scoreboard.making import Interrupted, Maker
from viewmill.models.training import metrics

from .conftest import words

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a child would do is done in this process, which is quicker; the list of what was done, a word for each."""
    done: list[str] = []

    def child(self: Maker, what: str, command: list[str], folder: Path, until: object = None) -> str | None:
        if self.stop.signal:
            raise Interrupted(self.stop.signal)
        done.append(f"{what} {folder.name}")
        status = train.main(command[3:]) if what == "train" else judging.main(command[3])
        return None if status == 0 else f"status {status}"

    monkeypatch.setattr(Maker, "_child", child)
    return done


EVERYTHING = ["judge pixels", "judge simclr-untrained-0", "train simclr-trained-0", "judge simclr-trained-0"]


def test_all_cells_are_made_once_and_what_changes_again(tars: Path, tmp_path: Path, here: list[str],
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "methods", *words(tars, tmp_path)]
    assert cli.main(arguments) == 0 and here == EVERYTHING
    table = json.loads((tmp_path / "table.json").read_text())
    (row,) = table["rows"]
    assert row["seeds"] == [0] and set(row["protocols"]) == {"knn", "linear", "finetune"}
    assert table["missing"] == table["stale"] == []
    assert row["protocols"]["knn"]["pictures"] == 24 and {"initialized", "calibrated"} <= row["protocols"]["linear"].keys()
    assert row["images_per_s"] > 0 and 0 <= row["data_wait"] <= 1 and 0 <= row["pretext"] <= 1 and row["health"]["health_std"] > 0
    assert table["pixels"]["knn"] == 1.0  # four colours under noise
    said = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text().strip() in said and "3 cells, 3 to be made" in said
    answers = next((tmp_path / "cells").glob("simclr-trained-0.*.npz"))
    with np.load(answers) as file:
        assert float(file["trained/knn"].mean()) == pytest.approx(row["protocols"]["knn"]["trained"])

    here.clear()
    before = (tmp_path / "table.json").read_text()
    assert cli.main(arguments) == 0 and here == [] and (tmp_path / "table.json").read_text() == before
    # Judged otherwise: nothing is trained anew.
    here.clear()
    assert cli.main([*arguments, "knn.k=[5]"]) == 0
    assert here == ["judge pixels", "judge simclr-untrained-0", "train simclr-trained-0", "judge simclr-trained-0"]
    assert "done       already" in capsys.readouterr().out
    # Another training; kept as it is where that is asked for.
    here.clear()
    assert cli.main([*arguments, "knn.k=[5]", "simclr.optimizer.lr=0.2", "stale=keep"]) == 0 and here == []
    assert "Stale, made by another configuration or other code, shown as they are" in capsys.readouterr().out
    assert cli.main([*arguments, "knn.k=[5]", "simclr.optimizer.lr=0.2"]) == 0 and here == EVERYTHING[1:]


def test_a_cell_that_fails_is_named_and_the_others_are_made(tars: Path, tmp_path: Path, here: list[str],
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "methods", *words(tars, tmp_path, "simclr.batch_size=500", "protocols=[knn]")]) == 1
    assert here == ["judge pixels", "judge simclr-untrained-0", "train simclr-trained-0"]
    said = capsys.readouterr().out
    assert "Failed: simclr-trained-0: training: status 2" in said and "Missing: simclr-trained-0." in said


def test_a_signal_leaves_what_is_done_and_the_same_command_goes_on(tars: Path, tmp_path: Path, here: list[str],
                                                                   monkeypatch: pytest.MonkeyPatch,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "methods", *words(tars, tmp_path, "protocols=[knn]")]
    real = judging.main

    def signalled(path: str) -> int:
        status = real(path)
        if "untrained" in path:
            os.kill(os.getpid(), signal.SIGINT)
        return status

    with monkeypatch.context() as during:
        during.setattr(judging, "main", signalled)
        assert cli.main(arguments) == 130
    said = capsys.readouterr().out
    assert "stopped by SIGINT, 1 of 3 cells are left; to go on, give the same command again: viewmill bench methods sim" in said
    assert json.loads((tmp_path / "table.json").read_text())["missing"] == ["simclr-trained-0"]
    here.clear()
    assert cli.main(arguments) == 0 and here == EVERYTHING[2:]


@pytest.mark.parametrize(("more", "message"), [
    (["split=dev", "data=ONE"], "split=dev holds out a tenth"),
    (["simclr.model.backbone=resnet19"], "unknown backbone"),
    (["data=absent-*.tar"], "absent-"),
])
def test_what_cannot_be_is_one_line(tars: Path, tmp_path: Path, more: list[str], message: str, here: list[str],
                                    capsys: pytest.CaptureFixture[str]) -> None:
    status = cli.main(["bench", "methods", *words(tars, tmp_path, "protocols=[knn]"),
                       *(word.replace("ONE", f"{tars}/train-0.tar") for word in more)])
    said = capsys.readouterr()
    assert status in (1, 2) and message in said.out + said.err


def command(tars: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "viewmill.cli", "bench", "methods",
            *words(tars, out, "protocols=[knn]", "train.epochs=20", "train.loader.sidecar=true", *more)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_stopped_or_killed_in_training_it_goes_on_from_the_checkpoint(tars: Path, tmp_path: Path, number: signal.Signals) -> None:
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".dev")}
    bench = subprocess.Popen(command(tars, tmp_path), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True)
    run = tmp_path / "work" / "simclr-trained-0" / "run"
    limit = time.monotonic() + 200
    while not any(row["step"] >= 20 for row in metrics.read(run / "metrics.jsonl")):
        assert bench.poll() is None and time.monotonic() < limit, bench.communicate()
        time.sleep(0.05)
    bench.send_signal(number)
    said, _ = bench.communicate(timeout=100)
    assert bench.returncode == {signal.SIGTERM: 0, signal.SIGINT: 130, signal.SIGKILL: -9}[number], said
    assert (number == signal.SIGKILL) or "1 of 3 cells are left" in said
    again = subprocess.run(command(tars, tmp_path), env=environment, capture_output=True, text=True, timeout=400)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "3 cells, 1 to be made" in again.stdout
    log = (tmp_path / "work" / "simclr-trained-0" / "train.log").read_text()
    assert f"stopped by {'SIGTERM' if number == signal.SIGKILL else number.name}" in log and "\nresumed    " in log
    steps = [row["step"] for row in metrics.read(run / "metrics.jsonl") if "loss" in row]
    assert steps == list(range(1, 7 * 20 + 1))
