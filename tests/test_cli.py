"""The console command: help everywhere, one line and a status for whatever goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from viewmill.cli import main

REPOSITORY = Path(__file__).resolve().parents[1]


def spoken(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(list(words))
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("words", [["--help"], [], ["train", "--help"], ["train", "simclr", "--help"], ["train", "-h"]])
def test_help_is_there_for_all(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = spoken(capsys, *words)
    assert (status, err) == (0, "") and "viewmill" in out


def test_help_of_train_lists_every_key_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = spoken(capsys, "train", "--help")
    assert "checkpoint.keep" in out and "knn.test_data" in out and "simclr" in out and "mae" in out
    _, out, _ = spoken(capsys, "train", "simclr", "--help")
    assert "model.backbone" in out and "optimizer.name=lars" in out  # the method's own keys, and its published numbers
    _, out, _ = spoken(capsys, "train", "mae", "--help")
    assert "optimizer.betas=[0.9, 0.95]" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from viewmill import __version__

    assert spoken(capsys, "--version") == (0, __version__ + "\n", "")


@pytest.mark.parametrize(("words", "message"), [
    (["trian"], "No such command 'trian'"),
    (["train", "data=x.tar"], "which method?"),
    (["train", "simclrr", "data=x.tar"], "unknown method 'simclrr'; did you mean 'simclr'?"),
    (["train", "simclr"], "simclr needs images: data=PATTERN"),
    (["train", "simclr", "data=absent-{0..3}.tar"], "absent-"),
    (["train", "simclr", "data=x.tar", "recipe=simclr_cifr"], "no recipe 'simclr_cifr'; did you mean 'simclr_cifar'?"),
    (["train", "simclr", "data=x.tar", "bach_size=8"], "unknown key 'bach_size'; did you mean 'batch_size'?"),
    (["train", "simclr", "data=x.tar", "--bach_size=8"], "unknown key 'bach_size'; did you mean 'batch_size'?"),
    (["train", "simclr", "data=x.tar", "epochs=ten"], "epochs needs a whole number (int), got 'ten'"),
    (["train", "simclr", "data=x.tar", "out"], "'out' is not key=value"),
])
def test_a_users_mistake_is_one_line_and_status_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = spoken(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith("viewmill: ") and err.count("\n") == 1 and message in err


def test_a_failure_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from viewmill import train

    def broken(words: list[str]) -> int:
        raise RuntimeError("the disk\nis gone")

    monkeypatch.setattr(train, "run", broken)
    status, _, err = spoken(capsys, "train", "simclr", "data=x.tar")
    assert status == 1 and err == "viewmill: RuntimeError: the disk is gone (VIEWMILL_TRACEBACK=1 shows where)\n"


def test_train_py_is_the_train_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".dev")}
    mistake = ["simclr", "data=x.tar", "epochs=ten"]
    command = [sys.executable, str(REPOSITORY / "train.py"), *mistake]
    end = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)
    assert (end.returncode, end.stdout, end.stderr) == spoken(capsys, "train", *mistake)
    assert end.stderr == "viewmill: epochs needs a whole number (int), got 'ten'\n"
