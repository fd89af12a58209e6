"""The words of `viewmill check`, how it ends, and how it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import viewmill
from viewmill.cli import main
from viewmill.pipelines.index import build_index

from ..shards import encoded, picture, write_tar
from .checked import flip

ROOT = Path(viewmill.__file__).parent.parent


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main(["check", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("words", [["--help"], ["-h"], []])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, *words)
    assert (status, err) == (0, "") and "decode=1000" in out and "--strict" in out and "sha256" in out


@pytest.mark.parametrize(("words", "line"), [
    (["decode=all"], "check needs data"), (["x.tar", "decod=3"], "did you mean 'decode'?"),
    (["x.tar", "--jsn"], "did you mean '--json'?"), (["no-such.tar"], "no-such.tar: does not exist"),
    (["x.tar", "decode=most"], "decode needs a whole number >= 0, or all, got 'most'"),
    (["x.tar", "decode=-1"], "decode needs a whole number >= 0, or all, got '-1'"),
    (["x.tar", "checksums=1"], "checksums needs true or false, got '1'"),
    (["x.tar", "workers=-1"], "workers needs a whole number >= 0, got -1"),
    (["x.tar", "write=no/such/file"], "there is no folder"),
    (["x.tar", "quarantine=no.jsonl"], "no.jsonl: cannot be read"),
    (["s3://bucket/x.tar", "y.tar"], "s3://bucket/x.tar y.tar: local files and URLs in one command"),
    (["x.tar", "catalogue=here"], "catalogue=here is for shards behind URLs"),
    (["pipe:cat x.tar"], "a command, which is not run"), (["x-{0..}.tar"], "does not exist"),
])
def test_mistakes_are_one_line_and_status_2(words: list[str], line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = said(capsys, *words)
    assert (status, out) == (2, "") and line in err and err.count("\n") == 1 and err.startswith("viewmill: ")


def test_whole_is_status_0_damage_1_and_remarks_as_asked(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, packed, "workers=1")
    assert (status, err) == (0, "") and "15 compared with their checksums, 15 decoded" in out and "whole; 0 remarks" in out
    place = build_index(packed / "s-1.tar").place(0)[0]
    flip(packed / "s-1.tar", place + 20)
    status, out, err = said(capsys, packed, "workers=1")
    assert (status, err) == (1, "") and "damaged     checksum: 1" in out and "s-1.tar: 00005.jpg" in out
    strange = write_tar(packed.parent / "y.tar", [("a.jpg", encoded(picture(4, 4), "PNG"))])
    assert said(capsys, strange)[0] == 0 and said(capsys, strange, "--strict")[0] == 1


def test_json_is_one_object_with_everything(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for row in range(5):
        flip(packed / "s-1.tar", build_index(packed / "s-1.tar").place(row)[0] + 20)
    status, out, _ = said(capsys, packed, "workers=1", "--json", "decode=0")
    about = json.loads(out)
    assert status == 1 and about["whole"] is False and about["images"]["count"] == 15
    assert about["damage"]["checksum"]["count"] == 5 and about["remarks"] == {}
    assert [each["key"] for each in about["damage"]["checksum"]["listed"]] == [f"0000{i}" for i in range(5, 10)]


def test_of_many_damages_people_see_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_tar(tmp_path / "x.tar", [(f"{i:02}.jpg", b"" if i % 2 else b"text") for i in range(30)])
    status, out, _ = said(capsys, path)
    assert status == 1 and "image: 30 (15 not an image, 15 empty, 0 bytes)" in out
    assert "x.tar: 19.jpg" in out and "x.tar: 20.jpg" not in out and "... and 10 more" in out
    assert len(json.loads(said(capsys, path, "--json")[1])["damage"]["image"]["listed"]) == 30


def test_names_cannot_speak_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_tar(tmp_path / "x.tar", [("a\x1b[2J\nwhole.jpg", b"")])
    _, out, _ = said(capsys, path)
    assert "x.tar: a\\x1b[2J\\nwhole.jpg: empty, 0 bytes" in out and "\x1b" not in out


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks the system when it has begun")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_ends_at_once_with_one_line(tmp_path: Path, workers: int, number: int) -> None:
    paths = [tmp_path / "0.tar", tmp_path / "1.tar"]
    for path in paths:
        os.mkfifo(path)  # whoever opens it waits for ever
    process = subprocess.Popen([sys.executable, "-m", "viewmill.cli", "check", *map(str, paths), f"workers={workers}"], text=True,
                               stderr=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    while not catches(process.pid, signal.SIGTERM):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(1)
    process.send_signal(number)
    began = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 2 and process.returncode == 128 + number
    assert out == "" and err == "viewmill: stopped while checking (0 of 2); nothing was changed\n"


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(line.split()[1], 16) >> number - 1 & 1)
