"""A run that is asked to stop does so in time, or its process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from viewmill.models.training.config import RunConfig
from viewmill.models.training.failing import too_late
from viewmill.models.training.stopping import Deadline, stop_signals

REPOSITORY = Path(__file__).resolve().parents[3]


def sent(number: signal.Signals, times: int = 1) -> None:
    for _ in range(times):
        signal.raise_signal(number)  # by this thread, so that its handler has run when it returns


def test_sigusr1_leaves_a_note_however_often_it_comes() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with stop_signals(signal.SIGUSR1) as stop:
        sent(signal.SIGUSR1, 3)
        assert stop.signal == signal.SIGUSR1
    assert signal.getsignal(signal.SIGUSR1) == before


def test_what_a_launcher_hands_on_is_the_same_wish_and_a_later_signal_another() -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    try:
        with stop_signals(again_s=60) as stop:
            sent(signal.SIGTERM, 2)
            assert stop.signal == signal.SIGTERM and not got
        with stop_signals(again_s=1e-9):
            sent(signal.SIGTERM)
            time.sleep(0.01)
            sent(signal.SIGTERM)
            assert got == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_who_is_through_before_the_deadline_is_left_alone() -> None:
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    threads = threading.active_count()
    with stop_signals(signal.SIGUSR1, within_s=0.2) as stop:
        sent(signal.SIGUSR1)
        assert stop.signal
    time.sleep(0.5)  # the process still is
    now = signal.set_wakeup_fd(before)
    assert now == before and threading.active_count() == threads


def test_ranks_that_got_no_signal_have_a_deadline_from_when_they_agreed() -> None:
    ended: list[int] = []
    over = threading.Event()

    def end(status: int) -> None:
        ended.append(status)
        over.set()

    deadline = Deadline([signal.SIGTERM], 0.05, lambda name: f"{name} came", end=end)
    deadline.begin(signal.SIGTERM)
    assert over.wait(30) and ended == [1]
    deadline.close()


BLOCKED = """
import os, signal, sys, threading
from pathlib import Path
import torch, torch.distributed as dist
from viewmill.models.training.failing import too_late
from viewmill.models.training.stopping import stop_signals
rank = int(os.environ["RANK"])
dist.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=rank, world_size=2)
with stop_signals(signal.SIGUSR1, within_s=1, late=lambda name: too_late(name, 1, Path("out"))):
    print("in", flush=True)
    if rank == 0:
        dist.all_reduce(torch.zeros(1))  # which the other never joins
    threading.Event().wait(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_rank_that_waits_in_a_collective_ends_at_the_deadline(tmp_path: Path, number: signal.Signals) -> None:
    ranks = [subprocess.Popen([sys.executable, "-c", BLOCKED, str(tmp_path / "meeting")], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(REPOSITORY / ".dev"), "RANK": rank})
             for rank in ("0", "1")]
    try:
        assert [process.stdout.readline() for process in ranks if process.stdout] == ["in\n", "in\n"]
        time.sleep(1)  # rank 0 may still be on its way into the collective
        ranks[0].send_signal(number)
        _, said = ranks[0].communicate(timeout=60)
        assert ranks[0].returncode == 1 and ranks[1].poll() is None
        assert said.splitlines()[-1] == (
            f"viewmill: {number.name} came, and the step or what follows it did not end within stop_within_s=1 s, so this "
            "process does; no checkpoint had been written; the same command goes on")
    finally:
        for process in ranks:
            process.kill()
            process.wait()


def test_a_deadline_needs_seconds() -> None:
    fields = dict(method="mae", data="x", out="o", epochs=1, batch_size=1, recipe="r", model=None, optimizer=None, schedule=None)
    with pytest.raises(ValueError, match=r"^stop_within_s needs a number above 0, got 0"):
        RunConfig(**fields, stop_within_s=0)  # type: ignore[arg-type]


def test_a_late_line_names_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-00000040.pt").touch()
    assert "the last good checkpoint, step-00000040.pt, still stands" in too_late("SIGTERM", 20, tmp_path)
