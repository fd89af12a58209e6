"""SIGTERM and SIGUSR1 end a run of several ranks in time, with a checkpoint."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from viewmill import train as training
from viewmill.models.training import metrics

from .runs import last_state, mae_words, two_ranks, wait_for_step
from .test_ranks import HANGING


def test_sigusr1_to_one_rank_stops_all_with_a_checkpoint(shards: Path, tmp_path: Path) -> None:
    arguments = mae_words(shards, tmp_path, "epochs=100", "stop_within_s=60")
    processes = two_ranks(arguments)
    wait_for_step(tmp_path, 3, processes[0])
    processes[1].send_signal(signal.SIGUSR1)
    ends = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    step = last_state(tmp_path)["step"]
    assert step >= 3 and f"stopped by SIGUSR1 after step {step} of 500, checkpoint in {tmp_path}/checkpoints" in ends[0][0]
    assert metrics.read(tmp_path / "metrics.jsonl")[-1]["step"] == step
    assert training.train(*training.read([*arguments, f"steps={step + 1}"]))["step"] == step + 1


@pytest.mark.slow
def test_a_step_that_does_not_end_ends_the_ranks_that_were_asked(shards: Path, tmp_path: Path) -> None:
    processes = two_ranks(mae_words(shards, tmp_path, "epochs=100", "stop_within_s=3", "checkpoint.steps=2"), {1: HANGING})
    wait_for_step(tmp_path, 3, processes[0])
    processes[0].send_signal(signal.SIGTERM)  # in a collective of step 4, or on its way there; rank 1 sleeps in step 4
    processes[1].send_signal(signal.SIGUSR1)
    ends = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [1, 1], ends
    for name, (_, said) in zip(("viewmill: SIGTERM", "viewmill: rank 1: SIGUSR1"), ends, strict=True):
        (line,) = [line for line in said.splitlines() if line.startswith(f"{name} came, and the step")]
        assert "the last good checkpoint, step-00000002.pt, still stands" in line
