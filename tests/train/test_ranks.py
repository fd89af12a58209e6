"""Several ranks train like one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from viewmill import train as training
from viewmill.models.training import metrics
from viewmill.models.training.process import World

from .runs import REPOSITORY, assert_same_run, last_state, mae_words, two_ranks, wait_for_step, words


def test_two_ranks_train_like_one_and_their_checkpoint_goes_on_alone(shards: Path, tmp_path: Path) -> None:
    # MAE has no batch norm, so two ranks of 8 images must do what one rank does with 16.
    common = ["epochs=2", "steps=6", "checkpoint.steps=4"]
    alone, both = tmp_path / "alone", tmp_path / "both"
    processes = two_ranks(mae_words(shards, both, *common))
    training.train(*training.read(mae_words(shards, alone, *common)))
    ends = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    assert "6 steps" in ends[0][0] and ends[1][0] == ""  # rank 0 alone speaks
    losses = [[row["loss"] for row in metrics.read(out / "metrics.jsonl")] for out in (alone, both)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    one, two = last_state(both)["random"]
    assert not torch.equal(one["torch"], two["torch"])  # each rank draws on its own
    assert last_state(both)["loader"] == last_state(alone)["loader"]
    (both / "checkpoints" / "step-00000006.pt").unlink()
    training.train(*training.read(mae_words(shards, both, *common)))
    assert [row["loss"] for row in metrics.read(both / "metrics.jsonl")] == pytest.approx(losses[0], rel=1e-3)


def test_ranks_that_share_the_weights_out_train_like_one_and_their_checkpoint_goes_on_alone(shards: Path, tmp_path: Path) -> None:
    common = ["epochs=2", "steps=6", "checkpoint.steps=4"]
    alone, both = tmp_path / "alone", tmp_path / "both"
    processes = two_ranks(mae_words(shards, both, *common, "parallel=fsdp", "clip_grad=1"))
    training.train(*training.read(mae_words(shards, alone, *common, "clip_grad=1")))
    ends = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    rows = [[(row["loss"], row["grad_norm"]) for row in metrics.read(out / "metrics.jsonl")] for out in (alone, both)]
    assert [pytest.approx(row, rel=1e-3) for row in rows[0]] == rows[1]
    shapes = [{name: value.shape for name, value in last_state(out)["model"].items()} for out in (alone, both)]
    assert shapes[0] == shapes[1]  # whole tensors
    shutil.rmtree(both / "checkpoints" / "step-00000006.parts")
    training.train(*training.read(mae_words(shards, both, *common, "clip_grad=1")))
    again = [(row["loss"], row["grad_norm"]) for row in metrics.read(both / "metrics.jsonl")]
    assert [pytest.approx(row, rel=1e-3) for row in rows[0]] == again


def test_ranks_that_do_not_divide_the_batch_are_refused(shards: Path, tmp_path: Path) -> None:
    world = World(rank=0, size=3, local_rank=0, local_size=3, device=torch.device("cpu"))
    with pytest.raises(ValueError, match=r"batch_size=16 is for all ranks together, and 3 ranks do not divide it; use .*15"):
        training._train(*training.read(words(shards, tmp_path)), world)


@pytest.mark.slow
def test_torchrun_stops_on_sigterm_and_goes_on(shards: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(REPOSITORY / "train.py"),
               *words(shards, tmp_path, "epochs=200")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".dev")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_step(tmp_path, 7, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    stopped = last_state(tmp_path)["step"]
    assert stopped >= 7 and f"stopped by SIGTERM after step {stopped} of 1000" in out, err
    more = subprocess.run([*command, f"steps={stopped + 2}"], env=environment, capture_output=True, text=True, timeout=120)
    assert more.returncode == 0 and last_state(tmp_path)["step"] == stopped + 2, more.stderr
    rows = [row["step"] for row in metrics.read(tmp_path / "metrics.jsonl") if "loss" in row]
    assert rows == list(range(1, stopped + 3))


def test_a_memory_that_ranks_share_is_saved_whole_and_goes_on_alone(shards: Path, tmp_path: Path) -> None:
    # A vision transformer has no batch norm, so the number of ranks changes nothing.
    own = ["model.backbone=vit_tiny_patch16_224", "model.negatives=20", "recipe=instdisc_cifar", "epochs=2", "steps=6",
           "checkpoint.steps=4", "optimizer.lr=0.01"]
    alone, both = tmp_path / "alone", tmp_path / "both"

    def instdisc(out: Path) -> list[str]:
        return ["instdisc", *words(shards, out, *own)[1:]]

    processes = two_ranks(instdisc(both))
    training.train(*training.read(instdisc(alone)))
    ends = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    losses = [[row["loss"] for row in metrics.read(out / "metrics.jsonl")] for out in (alone, both)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    rows = [last_state(out)["rows"]["bank.rows"] for out in (alone, both)]
    assert rows[0].shape == (80, 128)
    torch.testing.assert_close(rows[1], rows[0], rtol=1e-3, atol=1e-4)
    (both / "checkpoints" / "step-00000006.pt").unlink()
    training.train(*training.read(instdisc(both)))
    assert [row["loss"] for row in metrics.read(both / "metrics.jsonl")] == pytest.approx(losses[0], rel=1e-3)


HANGING = """
import sys, time
from viewmill.models.mae import MAE
from viewmill.train import main
after = MAE.after_step
MAE.taken = 0
def slow(self, progress):
    MAE.taken += 1
    if MAE.taken == 4:
        time.sleep(1000)
    after(self, progress)
MAE.after_step = slow
sys.exit(main(sys.argv[1:]))
"""


def test_a_rank_that_hangs_ends_the_job_and_is_named_with_its_step(shards: Path, tmp_path: Path) -> None:
    arguments = mae_words(shards, tmp_path, "epochs=100", "hang_s=6", "checkpoint.steps=2")
    processes = two_ranks(arguments, {1: HANGING})
    ends = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [1, 1], ends
    for number, (_, said) in enumerate(ends):
        assert f"viewmill: rank {number}: no step for 6 s: rank 1 did not get beyond step 3; the job ends" in said
    assert last_state(tmp_path)["step"] == 2


@pytest.mark.slow
def test_torchrun_starts_a_job_again_whose_rank_was_killed_and_no_bit_is_lost(shards: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".dev"), "OMP_NUM_THREADS": "1"}

    def job(out: Path) -> subprocess.Popen[str]:
        own = mae_words(shards, out, "epochs=12", "checkpoint.steps=5", "report=false")
        return subprocess.Popen([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
                                 "--max-restarts", "1", str(REPOSITORY / "train.py"), *own], env=environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    unbroken = job(tmp_path / "a")
    said = unbroken.communicate(timeout=200)
    assert unbroken.returncode == 0, said
    broken = job(tmp_path / "b")
    wait_for_step(tmp_path / "b", 12, broken)
    ranks = subprocess.run(["pgrep", "-P", str(broken.pid), "-f", "train.py"], capture_output=True, text=True).stdout.split()
    assert len(ranks) == 2
    os.kill(int(ranks[1]), signal.SIGKILL)
    said = broken.communicate(timeout=200)
    assert broken.returncode == 0, said
    assert "resumed    " in said[0] and last_state(tmp_path / "b")["step"] == 60
    assert_same_run(tmp_path / "a", tmp_path / "b")


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [0, 1])  # of which 0 holds what they tell each other
def test_a_rank_that_is_frozen_ends_the_others(shards: Path, tmp_path: Path, frozen: int) -> None:
    processes = two_ranks(mae_words(shards, tmp_path, "epochs=100", "hang_s=6", "checkpoint.steps=2"))
    wait_for_step(tmp_path, 3, processes[0])
    processes[frozen].send_signal(signal.SIGSTOP)
    try:
        _, said = processes[1 - frozen].communicate(timeout=100)
    finally:
        processes[frozen].kill()
    assert processes[1 - frozen].returncode == 1 and "no step for 6 s: " in said, said
    silent = "rank 1 has told nothing" if frozen else "rank 0, which holds what ranks tell each other, has not answered"
    assert f"; {silent} for " in said, said


def test_a_rank_that_is_killed_is_named_by_the_others(shards: Path, tmp_path: Path) -> None:
    processes = two_ranks(mae_words(shards, tmp_path, "epochs=100", "hang_s=10", "checkpoint.steps=2"))
    wait_for_step(tmp_path, 3, processes[0])
    processes[1].kill()
    _, said = processes[0].communicate(timeout=60)
    assert processes[0].returncode == 1 and "rank 1 is gone, last heard of at step " in said, said
    assert "still stands, and the same command goes on from it" in said
    assert "\n" not in said.strip().splitlines()[-1]
