"""Cells that other code has made: which count as today's, after how much work, and which are made anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from viewmill import cli, train
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.scoreboard import cells, checking, judging
from viewmill.evaluation.scoreboard.making import Maker
from viewmill.models.simclr import SimCLR

from .conftest import words

ALL = ["judge pixels.check", "judge simclr-untrained-0.check", "train simclr-trained-0.check", "judge simclr-trained-0.check"]
KNN = "protocols=[knn]"


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a child would do is done in this process; a word for each."""
    found: list[str] = []

    def child(self: Maker, what: str, command: list[str], folder: Path, until: Callable[[], bool] | None = None) -> str | None:
        found.append(f"{what} {folder.name}")
        status = train.main(command[3:]) if what == "train" else judging.main(command[3])
        return None if status == 0 else f"status {status}"

    monkeypatch.setattr(Maker, "_child", child)
    return found


def as_other_code(monkeypatch: pytest.MonkeyPatch, name: str = "later") -> None:
    monkeypatch.setattr(cells, "code_of", lambda definitions: name)


def bench(tars: Path, out: Path, *more: str) -> dict[str, Any]:
    assert cli.main(["bench", "methods", *words(tars, out, KNN, *more)]) == 0
    table: dict[str, Any] = json.loads((out / "table.json").read_text())
    return table


def test_what_comes_out_the_same_counts_as_todays_and_says_so(tars: Path, tmp_path: Path, done: list[str],
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    before = bench(tars, tmp_path)
    assert before["checked"] == []
    as_other_code(monkeypatch)
    done.clear()
    after = bench(tars, tmp_path, "stale=check")
    assert done == ALL and after["stale"] == [] and after["rows"] == before["rows"]
    assert after["checked"] == ["pixels", "simclr-untrained-0", "simclr-trained-0"]
    assert "Made by earlier code, and checked: 3 cells." in (tmp_path / "table.md").read_text()
    assert not list((tmp_path / "work").glob("*.check"))
    done.clear()
    bench(tars, tmp_path)  # without a check there is nothing to do either
    assert done == []
    as_other_code(monkeypatch, "later still")
    assert bench(tars, tmp_path, "stale=check")["checked"] == after["checked"] and done == ALL


def test_further_seeds_stand_with_seed_0_where_the_same_code_made_them(tars: Path, tmp_path: Path, done: list[str],
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    bench(tars, tmp_path, "seeds=2")
    as_other_code(monkeypatch)
    done.clear()
    table = bench(tars, tmp_path, "seeds=2", "stale=check")
    assert done == ALL and len(table["checked"]) == 5 and table["rows"][0]["seeds"] == [0, 1]
    # One that yet other code has made, of which seed 0 tells nothing, is made anew.
    path = tmp_path / "cells" / "simclr-trained-1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"code": "unknown", "key": "unknown"}))
    done.clear()
    assert "simclr-trained-1" not in bench(tars, tmp_path, "seeds=2", "stale=check")["checked"]
    assert done == ["train simclr-trained-1", "judge simclr-trained-1"]


def test_another_loss_is_noticed_and_the_cell_made_anew(tars: Path, tmp_path: Path, done: list[str],
                                                        monkeypatch: pytest.MonkeyPatch,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    bench(tars, tmp_path)
    as_other_code(monkeypatch)
    forward = SimCLR.forward
    monkeypatch.setattr(SimCLR, "forward", lambda self, batch: {k: v * (1 + 1e-6) for k, v in forward(self, batch).items()})
    done.clear()
    table = bench(tars, tmp_path, "stale=check")
    assert done == [*ALL[:3], "train simclr-trained-0", "judge simclr-trained-0"]
    assert table["checked"] == ["pixels", "simclr-untrained-0"] and table["stale"] == []
    assert "simclr-trained-0: not the same: accuracy at step 1 was " in capsys.readouterr().out


def test_other_features_are_noticed(tars: Path, tmp_path: Path, done: list[str], monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    bench(tars, tmp_path)
    as_other_code(monkeypatch)
    forward = Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda self, images: torch.randn_like(forward(self, images)))
    table = bench(tars, tmp_path, "stale=check")
    assert table["checked"] == [] and table["stale"] == []
    said = capsys.readouterr().out
    assert all(f"{name}-0: not the same: " in said for name in ("simclr-untrained", "simclr-trained"))
    assert " of 24 answers of initialized knn" in said and " of 24 answers of trained knn" in said


def test_another_configuration_is_never_the_same(tars: Path, tmp_path: Path, done: list[str]) -> None:
    bench(tars, tmp_path)
    done.clear()
    bench(tars, tmp_path, "stale=check", "simclr.optimizer.lr=0.2")
    assert done == ["judge simclr-untrained-0", "train simclr-trained-0", "judge simclr-trained-0"]


def test_a_key_that_counts_no_more_makes_no_other_configuration(tars: Path, tmp_path: Path, done: list[str],
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    bench(tars, tmp_path)
    as_other_code(monkeypatch)
    path = tmp_path / "cells" / "simclr-trained-0.json"
    kept = json.loads(path.read_text())
    kept["configuration"]["training"]["sync_bn"] = None  # as cells of old have it: a cell is trained by one process
    path.write_text(json.dumps(kept))
    done.clear()
    bench(tars, tmp_path, "stale=check")
    assert done == ALL


def test_without_the_run_that_was_kept_there_is_nothing_to_compare(tars: Path, tmp_path: Path, done: list[str],
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    bench(tars, tmp_path)
    (tmp_path / "work" / "simclr-trained-0" / "run" / "metrics.jsonl").unlink()
    as_other_code(monkeypatch)
    done.clear()
    bench(tars, tmp_path, "stale=check")
    assert done == [*ALL[:2], "train simclr-trained-0", "judge simclr-trained-0"]


def rows(folder: Path, *lines: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps({"epoch": 0.1, **line}) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize(("again", "steps", "expected"), [
    ([{"step": 10, "loss": 2.0, "images_per_s": 9}, {"step": 20, "loss": 1.5}], 100, None),  # how fast it was does not matter
    ([{"step": 10, "loss": 2.0, "cosine": 0.5}], 100, None),  # stopped early; and a name that the other does not have
    ([{"step": 10, "loss": 2.0}, {"step": 20, "loss": 1.6}], 10, None),  # beyond the steps that are compared
    ([{"step": 10, "loss": 2.0}, {"step": 20, "loss": 1.5000001}], 100, "loss at step 20 was 1.5 and is 1.5000001"),
    ([{"step": 10, "loss": 2.5}], 5, "loss at step 10 was 2.0 and is 2.5"),  # the first line always
    ([{"step": 7, "loss": 2.0}], 100, "the two trainings logged no step in common"),
])
def test_lines_of_two_trainings(tmp_path: Path, again: list[dict[str, Any]], steps: int, expected: str | None) -> None:
    kept = rows(tmp_path / "kept", {"step": 10, "loss": 2.0, "images_per_s": 5, "data/bad": 1, "spread": 1.0},
                {"step": 20, "loss": 1.5})
    assert checking._unlike(kept, rows(tmp_path / "again", *again), steps) == expected
