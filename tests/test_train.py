"""A run as a user meets it: what it writes, how it is stopped, killed and resumed, and how it fails."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from viewmill import train as training
from viewmill.models.training import checkpoint, metrics, progress
from viewmill.models.training import step as step_module
from viewmill.models.training.errors import RunFailure
from viewmill.models.training.process import World
from viewmill.pipelines.catalogue import seal_shard, write_catalogue
from viewmill.pipelines.quarantine import read_quarantine
from viewmill.pipelines.source import ArraySource

from tests.pipelines.remote.server import serving

REPOSITORY = Path(__file__).resolve().parents[1]
SIDE, CLASSES = 32, 4
TINY = ["recipe=simclr_cifar", "batch_size=16", "model.backbone=test_resnet", "log_every=1", "torch_threads=1",
        "tensorboard=false", "loader.sidecar=false", "loader.threads=1", "optimizer.lr=0.1", "schedule.warmup_epochs=0.5"]

# No method here draws from torch's generator while it trains; later ones will, and its state must come back too.
NOISY = """
import torch
from viewmill.models.simclr import SimCLR
forward = SimCLR.forward
def noisy(self, batch):
    values = forward(self, batch)
    return {**values, "loss": values["loss"] * (1 + 0.1 * torch.rand(()))}
SimCLR.forward = noisy
"""
THREE_EPOCHS = ["epochs=3", "knn.test_data=SHARDS/test-0.tar", "knn.k=5"]


def write_shard(path: Path, count: int, seed: int) -> None:
    """JPEGs of a class's colour under noise, as WebDataset stores them: key.jpg and key.cls."""
    rng = np.random.default_rng(seed)
    colours = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [180, 180, 60]])
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            label = number % CLASSES
            pixels = np.clip(colours[label] + rng.normal(0, 40, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
            for suffix, data in (("jpg", buffer.getvalue()), ("cls", str(label).encode())):
                info = tarfile.TarInfo(f"{seed:02d}{number:05d}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of train-0.tar and train-1.tar, 40 images each, and test-0.tar, 24."""
    folder = tmp_path_factory.mktemp("shards")
    for name, count, seed in (("train-0.tar", 40, 1), ("train-1.tar", 40, 2), ("test-0.tar", 24, 3)):
        write_shard(folder / name, count, seed)
    return folder


@pytest.fixture(scope="module", autouse=True)
def noisy() -> Any:
    from viewmill.models.simclr import SimCLR

    forward = SimCLR.forward
    exec(NOISY, {})
    yield
    SimCLR.forward = forward  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def words(shards: Path, out: Path, *more: str) -> list[str]:
    return ["simclr", f"data={shards}/train-{{0..1}}.tar", f"out={out}", *TINY,
            *(word.replace("SHARDS", str(shards)) for word in more)]


def run(shards: Path, out: Path, *more: str) -> dict[str, Any]:
    return training.train(*training.read(words(shards, out, *more)))


def last_state(out: Path) -> dict[str, Any]:
    return checkpoint.load(out / "checkpoints" / (out / "checkpoints" / "last").read_text().strip())


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in leaves(item, f"{name}.{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for key, item in enumerate(value) for k, v in leaves(item, f"{name}.{key}").items()}
    return {name: value}


def assert_same_run(a: Path, b: Path) -> None:
    """Weights, optimizer, loader, random states and the logged numbers agree to the bit. Counters begin at zero again."""
    one, two = (leaves({k: v for k, v in last_state(out).items() if k != "config"}) for out in (a, b))
    assert one.keys() == two.keys()
    for name, value in one.items():
        same = torch.equal(value, two[name]) if isinstance(value, torch.Tensor) else value == two[name]
        assert same, name
    timed = {"images_per_s", "data_wait", "data_wait_run", "knn_seconds"}
    rows = [[{k: v for k, v in row.items() if k not in timed and not k.startswith("data/")}
             for row in metrics.read(out / "metrics.jsonl")] for out in (a, b)]
    assert rows[0] == rows[1]


@pytest.fixture(scope="module")
def unbroken(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs of five steps, with kNN after each, not interrupted."""
    out = tmp_path_factory.mktemp("unbroken")
    summary = run(shards, out, *THREE_EPOCHS)
    assert (summary["step"], summary["stopped"]) == (15, 0)
    return out


def test_a_run_leaves_config_metrics_checkpoint_and_curves(unbroken: Path) -> None:
    rows = metrics.read(unbroken / "metrics.jsonl")
    steps = [row for row in rows if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 16))
    assert {"loss", "lr", "images_per_s", "data_wait", "epoch"} <= steps[0].keys()
    assert all(0 <= row["data_wait"] <= 1 and row["images_per_s"] > 0 for row in steps)
    assert [row["data/samples"] for row in steps] == [16 * step for step in range(1, 16)]
    assert all(row["data/read"] >= row["data/decoded"] >= row["data/samples"] and row["data/substituted"] == 0 for row in steps)
    assert not (unbroken / "quarantine.jsonl").exists()
    assert [row["step"] for row in rows if "knn" in row] == [0, 5, 10, 15]
    assert {"knn_raw_pixels", "knn_untrained"} <= rows[0].keys()
    config = json.loads((unbroken / "config.json").read_text())
    assert config["config"]["batch_size"] == 16 and config["recipe"]["name"] == "simclr_cifar" and "torch" in config["versions"]
    assert [p.name for p in checkpoint.written(unbroken / "checkpoints")] == ["step-00000015.pt"]
    assert Image.open(unbroken / "curves.png").width > 600


def test_the_rate_warms_up_and_ends_near_zero(unbroken: Path) -> None:
    rates = [row["lr"] for row in metrics.read(unbroken / "metrics.jsonl") if "lr" in row]
    assert rates[0] == 0 and max(rates) == rates[2] and rates[-1] < 0.05 * max(rates)


def test_knn_of_pixels_is_what_scikit_learn_style_cosine_voting_finds(unbroken: Path) -> None:
    # Four colours under noise: by hand, raw pixels tell them apart without a mistake.
    assert metrics.read(unbroken / "metrics.jsonl")[0]["knn_raw_pixels"] == 1.0


def test_the_same_command_again_has_nothing_left_to_do(shards: Path, unbroken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (unbroken / "metrics.jsonl").read_text()
    assert run(shards, unbroken, *THREE_EPOCHS)["step"] == 15
    assert (unbroken / "metrics.jsonl").read_text() == before
    assert "done       already: step 15 of 15" in capsys.readouterr().out


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

    def spoiled(parameters: Any, bound: float | None, mode: str) -> None:
        steps.append(1)
        if len(steps) == 2:
            next(p for p in parameters if p.grad is not None).grad.fill_(float("inf"))

    monkeypatch.setattr(step_module, "clip", spoiled)
    with pytest.raises(RunFailure, match=r"^backbone\S+ is not finite at step 2; no checkpoint had been written"):
        run(shards, tmp_path, "epochs=1", "checkpoint.steps=2", "log_every=1")
    assert not checkpoint.written(tmp_path / "checkpoints")


@pytest.mark.parametrize(("more", "message"), [
    (["batch_size=81"], "batch_size=81 needs at least as many images"),
    (["seed=5"], "seed=0, this run has seed=5"),
    (["model.backbone=test_vit"], "model.backbone=test_resnet, this run has model.backbone=test_vit"),
    (["recipe.global/0.grayscale.p=0"], "another recipe"),
    (["resume=never"], "choose another out="),
    (["knn.test_data=absent-*.tar"], "absent-"),
    (["knn.test_data=SHARDS/train-0.tar", "knn.k=41", "knn.max_images=40", "resume=auto"], "knn.k=41 needs as many"),
])
def test_what_does_not_fit_is_refused(shards: Path, unbroken: Path, more: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(shards, unbroken, "epochs=3", *more)


@pytest.mark.parametrize(("more", "message"), [
    (["sync_bn=true"], "sync_bn=true needs CUDA"),
    (["model.backbone=resnet19"], "unknown backbone 'resnet19'; did you mean 'resnet1"),
    (["recipe.global.size_px=30", "model.backbone=vit_tiny_patch16_224"], "image size 30 px"),
    (["data=SHARDS/absent-{0..1}.tar"], "absent-"),
    (["data=SHARDS/*.zip"], "zip"),
])
def test_what_cannot_start_is_refused(shards: Path, tmp_path: Path, more: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        run(shards, tmp_path, *more)
    assert "\n" not in str(caught.value)
    assert not checkpoint.written(tmp_path / "checkpoints")


def test_a_checkpoint_of_another_method_is_refused(shards: Path, unbroken: Path) -> None:
    with pytest.raises(ValueError, match="is a checkpoint of simclr, this run is mae; choose another out= or resume="):
        training.train(*training.read(mae_words(shards, unbroken)))


def test_bad_images_are_counted_named_and_told_at_the_end(shards: Path, tmp_path: Path,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    """Two of 80 are cut short, as by a broken copy: the images' own bytes end, and the tar is whole."""
    damaged = tmp_path / "train-0.tar"
    with tarfile.open(shards / "train-0.tar") as old, tarfile.open(damaged, "w") as new:
        for number, info in enumerate(old.getmembers()):
            data = old.extractfile(info).read()  # type: ignore[union-attr]
            info.size = len(data) - 20 * (number in (4, 10))
            new.addfile(info, io.BytesIO(data))
    out = tmp_path / "out"
    summary = run(shards, out, f"data=['{damaged}', '{shards / 'train-1.tar'}']", "epochs=1", "loader.max_bad=0.1")
    last = metrics.read(out / "metrics.jsonl")[-1]
    assert last["data/substituted"] == last["data/substituted/jpeg_cut_short"] == summary["substituted"] == 2
    named = read_quarantine(out / "quarantine.jsonl")
    assert sorted(each.key for each in named) == ["0100002", "0100005"]
    assert {each.shard for each in named} == {str(damaged)} and {each.reason for each in named} == {"JPEG cut short"}
    said = capsys.readouterr().out
    assert re.search(rf"\ndata       read \d+ images \(\d.*KB\), 2 replaced by stand-ins \(2 x JPEG cut short; {out}/"
                     r"quarantine\.jsonl names them\)\n", said)


def test_steps_end_a_run_within_an_epoch(shards: Path, tmp_path: Path) -> None:
    assert run(shards, tmp_path, "epochs=3", "steps=2", "clip_grad=0.5", "channels_last=true", "precision=bf16")["step"] == 2
    rows = metrics.read(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2] and all(row["grad_norm"] > 0 for row in rows)


def test_decay_that_changes_is_logged_and_reaches_the_weights_that_decay(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path, "epochs=2", "steps=4", "optimizer.name=adamw", "optimizer.weight_decay=0.04",
        "optimizer.final_weight_decay=0.4", "clip_grad=1e-3", "clip_mode=per-tensor")
    rows = [row for row in metrics.read(tmp_path / "metrics.jsonl") if "lr" in row]
    far = (1 + 0.5**0.5) / 2  # of half a cosine in four steps, after the first
    assert [row["weight_decay"] for row in rows] == pytest.approx([0.04, 0.4 - 0.36 * far, 0.22, 0.4 - 0.36 * (1 - far)])
    assert all(row["grad_norm"] > 1e-3 for row in rows)
    decays, spared = last_state(tmp_path)["optimizer"]["param_groups"]
    assert decays["weight_decay"] == pytest.approx(rows[-1]["weight_decay"]) and spared["weight_decay"] == 0


def test_the_method_is_told_the_epoch_before_each_step_and_the_progress_after(
        shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from viewmill.models.simclr import SimCLR

    told: list[float] = []
    monkeypatch.setattr(SimCLR, "before_step", lambda self, epoch: told.append(epoch))
    monkeypatch.setattr(SimCLR, "after_step", lambda self, progress: told.append(-progress))
    run(shards, tmp_path / "run", "epochs=2", "steps=6")  # 5 steps are an epoch
    assert told == pytest.approx([0, -1 / 6, 0.2, -2 / 6, 0.4, -3 / 6, 0.6, -4 / 6, 0.8, -5 / 6, 1.0, -1.0])


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


def mae_words(shards: Path, out: Path, *more: str) -> list[str]:
    small = [word for word in TINY if not word.startswith(("recipe", "model", "optimizer"))]
    small += ["recipe=mae_cifar", "model.depth=2", "model.embed_dim=48", "model.heads=3", "model.decoder_depth=1"]
    return ["mae", f"data={shards}/train-{{0..1}}.tar", f"out={out}", *small, *more]


def two_ranks(arguments: list[str]) -> list[subprocess.Popen[str]]:
    """The command on ranks 0 and 1, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in ("0", "1"):
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".dev"), "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2",
                       "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        started.append(subprocess.Popen([sys.executable, "-m", "viewmill.train", *arguments], env=environment, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    return started


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


def dino_words(shards: Path, out: Path, *more: str) -> list[str]:
    small = [word for word in TINY if not word.startswith(("recipe", "model"))]
    small += ["recipe=dino_cifar", "model.embed_dim=24", "model.depth=2", "model.heads=3", "model.prototypes=32",
              "model.head_hidden=16", "model.head_bottleneck=8", "epochs=3", "optimizer.lr=1e-2"]
    return ["dino", f"data={shards}/train-{{0..1}}.tar", f"out={out}", *small, *more]


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


def wait_for_step(out: Path, step: int, process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + 100
    while time.monotonic() < limit and process.poll() is None:
        if any(row["step"] >= step for row in metrics.read(out / "metrics.jsonl")):
            return
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"step {step} was never reached: {process.communicate()}")


class Slow(ArraySource):
    """A source whose storage takes so many seconds for an image."""

    def __init__(self, seconds: float) -> None:
        super().__init__(np.random.default_rng(0).integers(0, 256, (32, SIDE, SIDE, 3), np.uint8))
        self.seconds = seconds

    def read(self, index: int) -> np.ndarray:
        time.sleep(self.seconds)
        return super().read(index)


@pytest.mark.parametrize(("seconds", "budget", "warnings"), [(0.05, "0.5", 1), (0.05, "1", 0), (0.0, "0.9", 0)])
def test_a_run_that_starves_says_so_once(shards: Path, tmp_path: Path, seconds: float, budget: str, warnings: int,
                                         monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # Sixteen reads of 50 ms by one thread before each step of some 30 ms: it waits more than half of the time.
    monkeypatch.setattr(training, "open_source", lambda data, remote: Slow(seconds))
    monkeypatch.setattr(progress, "WARM_UP_STEPS", 1)
    monkeypatch.setattr(progress, "WINDOW_STEPS", 2)
    monkeypatch.setattr(progress, "WINDOW_SECONDS", 0.0)
    summary = run(shards, tmp_path, "epochs=3", "model.backbone=convnet4", f"data_wait_budget={budget}")
    said = [line for line in capsys.readouterr().out.splitlines() if "of the time, more than" in line]
    assert len(said) == warnings and (summary["starved"] > 0) == bool(warnings)
    assert metrics.read(tmp_path / "metrics.jsonl")[-1]["data_wait_run"] == pytest.approx(summary["data_wait"])
    if warnings:
        assert summary["starved"] > 0.5 and f"{summary['starved']:.0%} of the time, more than data_wait_budget=0.5" in said[0]
        assert f"viewmill bench --diagnose simclr data='{shards}/train-{{0..1}}.tar'" in said[0]


@pytest.mark.parametrize("budget", ["-0.1", "1.5"])
def test_a_budget_that_is_no_share_is_refused(shards: Path, tmp_path: Path, budget: str) -> None:
    with pytest.raises(ValueError, match=rf"^data_wait_budget needs a share of the time in \[0, 1\], got {budget}; 1 turns"):
        run(shards, tmp_path, f"data_wait_budget={budget}")


def test_health_is_measured_and_moves_nothing(shards: Path, unbroken: Path, tmp_path: Path) -> None:
    run(shards, tmp_path, *THREE_EPOCHS, "health.every=0")
    one, two = (leaves({k: v for k, v in last_state(out).items() if k != "config"}) for out in (unbroken, tmp_path))
    assert all(torch.equal(value, two[name]) if isinstance(value, torch.Tensor) else value == two[name]
               for name, value in one.items())
    names = {f"{prefix}_{name}" for prefix in ("health", "embed")
             for name in ("std", "rankme", "uniformity", "negative", "positive", "alignment")}
    rows = {row["step"]: row for row in metrics.read(unbroken / "metrics.jsonl") if "loss" in row}
    assert [step for step, row in rows.items() if names <= row.keys()] == [1, 15]
    assert not any(name.startswith("health") for row in metrics.read(tmp_path / "metrics.jsonl") for name in row)


def test_a_collapse_is_said_once(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    from viewmill.models.simclr import SimCLR

    monkeypatch.setattr(SimCLR, "embed", lambda self, images: torch.ones(len(images), 3))
    run(shards, tmp_path, "epochs=2", "health.every=1")
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("collapse?")]
    assert len(said) == 1 and "embed_std" in said[0] and "embeddings of all images are alike" in said[0]
