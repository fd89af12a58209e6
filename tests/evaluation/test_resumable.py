"""Work in steps that is saved now and then and gone on with: every step is done once, in order."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from viewmill.evaluation.resumable import Stopped, folder_of, work_through
from viewmill.models.training.process import World

ALONE = World(0, 1, 0, 1, torch.device("cpu"))


class Sums:
    """Adds up drawn numbers; at step `stop` a signal comes, at step `fail` it raises."""

    def __init__(self, stop: int = -1, number: int = signal.SIGTERM, fail: int = -1) -> None:
        self.total, self.steps, self.stop, self.signal, self.fail = torch.zeros(1), [], stop, number, fail

    def step(self, number: int) -> dict[str, float] | None:
        self.steps.append(number)
        self.total += torch.rand(1)
        if number == self.stop:
            os.kill(os.getpid(), self.signal)
        if number == self.fail:
            raise MemoryError
        return {"sum": float(self.total)}

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.total = state["total"]


def go(work: Sums, out: Path, job: Mapping[str, Any] | None = None, total: int = 10, **more: Any) -> Sums:
    work_through(work, total, out, job or {"a": 1}, ALONE, what="sums", say=more.pop("say", lambda text: None), **more)
    return work


def test_stopped_work_goes_on_with_its_state_and_its_chance(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = go(Sums(), tmp_path / "whole", random=True)
    torch.manual_seed(0)
    with pytest.raises(Stopped, match=r"sums stopped by SIGINT after step 4 of 10, saved in .*; give the same command again"):
        go(Sums(stop=3, number=signal.SIGINT), tmp_path / "half", random=True)
    torch.manual_seed(5)
    said: list[str] = []
    rest = go(Sums(), tmp_path / "half", random=True, say=said.append)
    assert rest.steps == [4, 5, 6, 7, 8, 9] and torch.equal(rest.total, whole.total)
    assert said == ["sums: going on after step 4 of 10"]


def test_done_work_is_not_done_again(tmp_path: Path) -> None:
    first = go(Sums(), tmp_path)
    again = go(Sums(), tmp_path)
    assert again.steps == [] and torch.equal(again.total, first.total)


def test_a_signal_at_the_last_step_leaves_nothing_to_do(tmp_path: Path) -> None:
    assert go(Sums(stop=9), tmp_path).steps == list(range(10))


def test_work_that_dies_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(MemoryError):
        go(Sums(fail=6), tmp_path, minutes=1e-9)
    assert go(Sums(), tmp_path).steps == [6, 7, 8, 9]
    with pytest.raises(MemoryError):
        go(Sums(fail=6), tmp_path / "rare", minutes=60)
    assert go(Sums(), tmp_path / "rare").steps == list(range(10))


def test_another_job_has_another_folder(tmp_path: Path) -> None:
    go(Sums(), tmp_path)
    assert go(Sums(), tmp_path, {"a": 2}).steps == list(range(10))
    assert folder_of({"a": 1, "b": [2.0]}, tmp_path, "sums") == folder_of({"b": [2.0], "a": 1}, tmp_path, "sums")
    assert (folder_of({"a": 1}, tmp_path, "sums") / "checkpoints" / "step-00000010.pt").is_file()


def test_signals_are_the_callers_again_afterwards(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped):
        go(Sums(stop=2), tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_line_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viewmill.evaluation.resumable.SAY_S", 0.0)
    said: list[str] = []
    go(Sums(), tmp_path, say=said.append, total=2)
    assert len(said) == 2 and said[1].startswith("sums: step 2 of 2, sum ")


def on_a_rank(folder: str) -> tuple[list[int], str, list[int], float]:
    rank = torch.distributed.get_rank()
    world, stopped = World(rank, 2, rank, 2, torch.device("cpu")), ""
    torch.manual_seed(rank)
    first, second = Sums(stop=3 if rank == 1 else -1), Sums()
    try:
        work_through(first, 8, Path(folder), {}, world, what="sums", random=True, say=lambda text: None)
    except Stopped as error:
        stopped = str(error)
    torch.manual_seed(9)
    work_through(second, 8, Path(folder), {}, world, what="sums", random=True, say=lambda text: None)
    return first.steps, stopped, second.steps, float(torch.rand(1))


def test_all_ranks_stop_where_one_is_stopped_and_each_goes_on_with_its_own_chance(
        tmp_path: Path, world: Callable[..., list[Any]]) -> None:
    for rank, (first, stopped, second, drawn) in enumerate(world(2, on_a_rank, str(tmp_path))):
        assert first == [0, 1, 2, 3] and second == [4, 5, 6, 7] and "after step 4 of 8" in stopped
        torch.manual_seed(rank)
        assert drawn == float(torch.rand(9)[8])
