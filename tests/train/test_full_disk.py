"""A run on a disk that is full for a while, or that damaged its newest checkpoint, loses no more than that."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from viewmill import train as training
from viewmill.models.training import checkpoint

from ..world import World
from .runs import assert_same_run, last_state, mae_words

BRIEF = ["epochs=2", "steps=6", "checkpoint.steps=2", "checkpoint.keep=2", "checkpoint.minutes=null", "report=false"]


def words(shards: Path, out: Path) -> list[str]:
    return mae_words(shards, out, *BRIEF)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch):
    """A disk that takes no checkpoint of the steps told."""
    steps: set[int] = set()
    write = checkpoint.torch.save

    def save(state, file):
        write(state, file)  # half-written, at least
        if state["step"] in steps:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", save)
    return steps


def test_the_run_goes_on_and_saves_when_there_is_room_again(
        shards: Path, tmp_path: Path, full: set[int], capsys: pytest.CaptureFixture[str]) -> None:
    full.add(4)
    assert training.main(words(shards, tmp_path)) == 0
    out = capsys.readouterr().out
    assert out.count("the checkpoint of step 4 could not be written") == 1 and "step-00000002.pt, still stands" in out
    assert [path.name for path in checkpoint.written(tmp_path / "checkpoints")] == ["step-00000002.pt", "step-00000006.pt"]


def test_a_run_whose_last_checkpoint_found_no_room_ends_with_one_line_and_goes_on_later(
        shards: Path, tmp_path: Path, full: set[int], capsys: pytest.CaptureFixture[str]) -> None:
    assert training.main(words(shards, tmp_path / "whole")) == 0
    full.update((4, 6))
    assert training.main(words(shards, tmp_path / "parts")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "the checkpoint of step 6 could not be written" in line and "step-00000002.pt, still stands; make room" in line
    full.clear()
    assert training.main(words(shards, tmp_path / "parts")) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_damaged_newest_is_said_aloud_and_the_run_comes_out_the_same(
        shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert training.main(words(shards, whole)) == 0
    assert training.main([*words(shards, parts), "steps=4"]) == 0
    newest = parts / "checkpoints" / "step-00000004.pt"
    bits = bytearray(newest.read_bytes())
    bits[len(bits) // 2] ^= 1
    newest.write_bytes(bits)
    capsys.readouterr()
    assert training.main(words(shards, parts)) == 0
    said = capsys.readouterr()
    assert "resumed" in said.out and "step-00000002.pt, step 2 of 6" in said.out
    (line,) = said.err.splitlines()
    assert line.startswith(f"viewmill: {newest} is not a whole checkpoint") and "the last good one, step-00000002.pt" in line
    assert_same_run(whole, parts)


def ending(arguments: list[str]) -> tuple[int, str, str]:
    """Of a rank: its exit status, and what it said."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = training.main(arguments)
    return status, out.getvalue(), err.getvalue()


def test_two_ranks_agree_on_the_last_good_one_and_one_of_them_says_so(world: World, shards: Path, tmp_path: Path) -> None:
    arguments = words(shards, tmp_path)
    assert [status for status, *_ in world(2, ending, arguments)] == [0, 0]
    (tmp_path / "checkpoints" / "step-00000006.pt").write_bytes(b"of another program")
    (status, out, err), (other, _, silent) = world(2, ending, arguments)
    assert (status, other) == (0, 0), err
    assert "step-00000004.pt, step 4 of 6" in out and err.count("is not a whole checkpoint") == 1 and silent == ""
    assert last_state(tmp_path)["step"] == 6
    for path in checkpoint.written(tmp_path / "checkpoints"):
        path.write_bytes(b"")
    (status, _, err), (other, _, _) = world(2, ending, arguments)
    assert (status, other) == (2, 2) and "none of the 1 before it is whole either" in err and len(err.splitlines()) == 1
