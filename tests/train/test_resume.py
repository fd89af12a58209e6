"""A run that is stopped, killed or fails: what stands, and that the same command goes on to the bit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from viewmill import train as training
from viewmill.models.training import checkpoint, metrics
from viewmill.models.training import step as step_module
from viewmill.models.training.errors import RunFailure
from viewmill.pipelines.catalogue import seal_shard, write_catalogue

from tests.pipelines.remote.server import serving

from .runs import (
    NOISY,
    REPOSITORY,
    THREE_EPOCHS,
    assert_same_run,
    deepcluster_words,
    dino_words,
    last_state,
    mae_words,
    memory_words,
    run,
    words,
)

KILLED = NOISY + """
import os, signal, sys
from viewmill.models.training import metrics
from viewmill.train import main
write = metrics.Metrics.write
def dying(self, step, epoch, values):
    write(self, step, epoch, values)
    if step == 8 and "loss" in values:
        os.kill(os.getpid(), signal.SIGKILL)
metrics.Metrics.write = dying
sys.exit(main(sys.argv[1:]))
"""


def test_the_same_command_again_has_nothing_left_to_do(shards: Path, unbroken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (unbroken / "metrics.jsonl").read_text()
    assert run(shards, unbroken, *THREE_EPOCHS)["step"] == 15
    assert (unbroken / "metrics.jsonl").read_text() == before
    assert "done       already: step 15 of 15" in capsys.readouterr().out


def test_killed_within_an_epoch_and_resumed_equals_unbroken_to_the_bit(shards: Path, unbroken: Path, tmp_path: Path) -> None:
    arguments = words(shards, tmp_path, *THREE_EPOCHS, "checkpoint.steps=3", "loader.sidecar=true")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".dev")}
    command = [sys.executable, "-c", KILLED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert last_state(tmp_path)["step"] == 6 and metrics.read(tmp_path / "metrics.jsonl")[-1]["step"] == 8
    run(shards, tmp_path, *THREE_EPOCHS)
    assert_same_run(unbroken, tmp_path)


def signalled_at(step: int, number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    write = metrics.Metrics.write

    def noting(self: metrics.Metrics, now: int, epoch: float, values: dict[str, float]) -> None:
        write(self, now, epoch, values)
        if now == step and "loss" in values:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(metrics.Metrics, "write", noting)


@pytest.mark.parametrize("step", [8, 10])  # within an epoch; at the end of one, where a kNN is due that must not be lost
def test_sigterm_finishes_the_step_and_the_same_command_goes_on_to_the_bit(
        shards: Path, unbroken: Path, tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    arguments = words(shards, tmp_path, *THREE_EPOCHS)
    with monkeypatch.context() as during:
        signalled_at(step, signal.SIGTERM, during)
        assert training.main(arguments) == 0
    said = capsys.readouterr().out
    assert f"stopped by SIGTERM after step {step} of 15" in said
    assert "to go on, give the same command again: viewmill train simclr 'data=" in said
    assert last_state(tmp_path)["step"] == step
    assert training.main(arguments) == 0
    assert f"step-{step:08d}.pt, step {step} of 15" in capsys.readouterr().out
    assert_same_run(unbroken, tmp_path)


def test_ctrl_c_saves_too_but_keeps_its_status(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signalled_at(2, signal.SIGINT, monkeypatch)
    assert training.main(words(shards, tmp_path, "epochs=2")) == 130
    assert last_state(tmp_path)["step"] == 2


def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_good_checkpoint(
        shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from viewmill.models.simclr import SimCLR

    calls, forward = [0], SimCLR.forward

    def spoiled(self: Any, batch: Any) -> dict[str, torch.Tensor]:
        calls[0] += 1
        values = forward(self, batch)
        return {**values, "loss": values["loss"] * (float("nan") if calls[0] == 4 else 1.0)}

    monkeypatch.setattr(SimCLR, "forward", spoiled)
    with pytest.raises(RunFailure, match=r"the loss is not finite at step 4; the last good checkpoint, step-00000002\.pt"):
        run(shards, tmp_path, "epochs=1", "checkpoint.steps=2", "log_every=3")
    assert last_state(tmp_path)["step"] == 2
    assert [row["step"] for row in metrics.read(tmp_path / "metrics.jsonl")] == [3]


def test_weights_that_a_gradient_spoiled_are_not_saved(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []

    def spoiled(method: Any, bound: float | None, mode: str) -> None:
        steps.append(1)
        if len(steps) == 2:
            next(p for p in method.parameters() if p.grad is not None).grad.fill_(float("inf"))

    monkeypatch.setattr(step_module, "clip", spoiled)
    with pytest.raises(RunFailure, match=r"^backbone\S+ is not finite at step 2; no checkpoint had been written"):
        run(shards, tmp_path, "epochs=1", "checkpoint.steps=2", "log_every=1")
    assert not checkpoint.written(tmp_path / "checkpoints")


def test_steps_end_a_run_within_an_epoch(shards: Path, tmp_path: Path) -> None:
    assert run(shards, tmp_path, "epochs=3", "steps=2", "clip_grad=0.5", "channels_last=true", "precision=bf16")["step"] == 2
    rows = metrics.read(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2] and all(row["grad_norm"] > 0 for row in rows)


def test_a_run_on_shards_behind_addresses_is_the_run_on_local_ones(shards: Path, tmp_path: Path) -> None:
    """Training, kNN and the end's counts; the second address has what the kNN tests."""
    packed = tmp_path / "packed"
    shutil.copytree(shards, packed)
    write_catalogue(packed, [seal_shard(path) for path in sorted(packed.glob("*.tar"))])
    more = ["epochs=2", "knn.k=5", "loader.shuffle=lanes", "loader.lanes=4", "loader.window=1", "loader.max_bad=0.02"]
    with serving() as server:
        for path in packed.iterdir():
            server.objects[f"set/{path.name}"] = path.read_bytes()
        url = f"{server.url}/set"
        keys = [f"data={url}/train-{{0..1}}.tar", f"knn.test_data={url}/test-0.tar", f"remote.cache={tmp_path}/cache",
                "remote.cache_bytes=1000000000", "remote.attempts=3"]
        summary = run(shards, tmp_path / "remote", *more, *keys)
    run(packed, tmp_path / "local", *more, "knn.test_data=SHARDS/test-0.tar")
    assert_same_run(tmp_path / "remote", tmp_path / "local")
    assert summary["counted"]["fetched_bytes"] > 0 and summary["knn"] > 0


@pytest.mark.parametrize("step", [3, 7])  # while the prototypes are held, so that the optimizer knows nothing of them; afterwards
def test_a_teacher_its_center_and_its_laws_go_on_to_the_bit(
        shards: Path, tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = dino_words(shards, tmp_path / "whole"), dino_words(shards, tmp_path / "parts")
    assert training.main(whole) == 0
    with monkeypatch.context() as during:
        signalled_at(step, signal.SIGTERM, during)
        assert training.main(parts) == 0
    assert last_state(tmp_path / "parts")["step"] == step
    assert training.main(parts) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    rows = [row for row in metrics.read(tmp_path / "whole" / "metrics.jsonl") if "loss" in row]
    assert len(rows) == 15 and rows[0]["weight_decay"] == pytest.approx(0.04) and 0.3 < rows[-1]["weight_decay"] < 0.4


@pytest.mark.parametrize(("method", "step"), [("swav", 6), ("deepcluster_v2", 7), ("moco", 7)])
def test_a_queue_and_what_is_kept_for_every_image_go_on_to_the_bit(
        shards: Path, tmp_path: Path, method: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A queue that is half full; groups of images in the middle of the epoch that they are for; a queue that came round twice.
    whole, parts = memory_words(method, shards, tmp_path / "whole"), memory_words(method, shards, tmp_path / "parts")
    assert training.main(whole) == 0
    with monkeypatch.context() as during:
        signalled_at(step, signal.SIGTERM, during)
        assert training.main(parts) == 0
    assert last_state(tmp_path / "parts")["step"] == step
    assert training.main(parts) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    losses = [row["loss"] for row in metrics.read(tmp_path / "whole" / "metrics.jsonl") if "loss" in row]
    assert len(losses) == 15 and min(losses) > 0


@pytest.mark.parametrize("step", [5, 7])  # before the pass of the second epoch, and within that epoch
def test_clusters_and_the_layer_that_tells_them_go_on_to_the_bit(
        shards: Path, tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = deepcluster_words(shards, tmp_path / "whole"), deepcluster_words(shards, tmp_path / "parts")
    assert training.main(whole) == 0
    with monkeypatch.context() as during:
        signalled_at(step, signal.SIGTERM, during)
        assert training.main(parts) == 0
    assert last_state(tmp_path / "parts")["step"] == step
    assert training.main(parts) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert last_state(tmp_path / "whole")["rows"]["cluster_of"].shape == (80, 1)


@pytest.mark.parametrize(("epochs", "stopped_after"), [((0.0,), 0), ((0.0, 1.0), 5)])
def test_a_pass_comes_when_it_is_asked_for_and_stopped_within_it_nothing_of_it_is_kept(
        shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        epochs: tuple[float, ...], stopped_after: int) -> None:
    from viewmill.models.deepcluster_v2 import DeepClusterV2

    passes: list[list[list[int]]] = []
    observe, stop_in = DeepClusterV2.observe, len(epochs)

    def wants(self: Any, epoch: float) -> bool:
        if epoch in epochs:
            passes.append([])
        return epoch in epochs

    def noting(self: Any, batch: Any) -> None:
        observe(self, batch)
        passes[-1].append(batch.index.tolist())
        if stop_in and len(passes) == stop_in and len(passes[-1]) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(DeepClusterV2, "observe", noting)
    monkeypatch.setattr(DeepClusterV2, "wants_pass", wants)
    arguments = memory_words("deepcluster_v2", shards, tmp_path / "parts", "epochs=2")
    assert training.main(arguments) == 0
    kept = f", checkpoint in {tmp_path}/parts/checkpoints" if stopped_after else ""
    assert f"stopped by SIGTERM after step {stopped_after} of 10{kept}\n" in capsys.readouterr().out
    assert [len(each) for each in passes] == [5] * (stop_in - 1) + [2]
    assert bool(checkpoint.written(tmp_path / "parts" / "checkpoints")) == bool(stopped_after)
    stop_in, cut = 0, passes.pop()
    assert training.main(arguments) == 0
    assert [sorted(index for batch in each for index in batch) for each in passes] == [list(range(80))] * len(epochs)
    assert passes[-1][:2] == cut  # the same views in the same order: nothing was skipped
    assert len({str(each) for each in passes}) == len(epochs)  # each pass in an order of its own
    assert training.main(arguments) == 0
    assert len(passes) == len(epochs) and last_state(tmp_path / "parts")["step"] == 10
    passes.clear()
    assert training.main(memory_words("deepcluster_v2", shards, tmp_path / "whole", "epochs=2")) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_scaled_loss_goes_on_with_its_scale(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16: the scale begins at 2^16 and is halved by each step that overflows, of which it has some here."""
    more = ("epochs=1", "precision=fp16", "optimizer.lr=1e-3", "report=false")
    arguments = [mae_words(shards, tmp_path / out, *more) for out in ("a", "b")]
    assert training.main(arguments[0]) == 0
    with monkeypatch.context() as during:
        signalled_at(3, signal.SIGTERM, during)
        assert training.main(arguments[1]) == 0
    assert last_state(tmp_path / "b")["step"] == 3
    assert training.main(arguments[1]) == 0
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert last_state(tmp_path / "a")["scaler"]["_growth_tracker"] > 0
