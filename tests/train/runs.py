"""Small runs on pictures made on the spot, and what they leave: shared by the tests of training."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from viewmill import train as training
from viewmill.models.training import checkpoint, metrics

REPOSITORY = Path(__file__).resolve().parents[2]
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


def mae_words(shards: Path, out: Path, *more: str) -> list[str]:
    small = [word for word in TINY if not word.startswith(("recipe", "model", "optimizer"))]
    small += ["recipe=mae_cifar", "model.depth=2", "model.embed_dim=48", "model.heads=3", "model.decoder_depth=1"]
    return ["mae", f"data={shards}/train-{{0..1}}.tar", f"out={out}", *small, *more]


def dino_words(shards: Path, out: Path, *more: str) -> list[str]:
    small = [word for word in TINY if not word.startswith(("recipe", "model"))]
    small += ["recipe=dino_cifar", "model.embed_dim=24", "model.depth=2", "model.heads=3", "model.prototypes=32",
              "model.head_hidden=16", "model.head_bottleneck=8", "epochs=3", "optimizer.lr=1e-2"]
    return ["dino", f"data={shards}/train-{{0..1}}.tar", f"out={out}", *small, *more]


def memory_words(method: str, shards: Path, out: Path, *more: str) -> list[str]:
    """SwAV whose queue is full after seven steps, DeepCluster-v2, MoCo whose queue comes round every three; three epochs of five
    steps."""
    own = {"swav": ["model.prototypes=8", "model.queue=32", "model.queue_epoch=1", "model.frozen_epochs=0.4"],
           "deepcluster_v2": ["model.prototypes=6", "model.clusterings=2", "model.iterations=3"],
           "moco": ["recipe=moco_cifar", "model.queue=48", "model.bn_splits=4", "model.momentum=0.9"]}[method]
    small = [word for word in TINY if not word.startswith("recipe")]
    small += ["recipe=swav_cifar", "model.projector_hidden=16", "model.projector_dim=8", "epochs=3", *own]
    return [method, f"data={shards}/train-{{0..1}}.tar", f"out={out}", *small, *more]


def deepcluster_words(shards: Path, out: Path, *more: str) -> list[str]:
    small = [word for word in TINY if not word.startswith(("recipe", "optimizer"))]
    small += ["recipe=deepcluster_cifar", "model.clusters=6", "model.pca=4", "model.iterations=3", "epochs=3"]
    return ["deepcluster", f"data={shards}/train-{{0..1}}.tar", f"out={out}", *small, *more]


def two_ranks(arguments: list[str], programs: Mapping[int, str] | None = None) -> list[subprocess.Popen[str]]:
    """The command on ranks 0 and 1, as torchrun would start them. programs: what a rank runs in its place."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in ("0", "1"):
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".dev"), "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2",
                       "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        program = ["-c", programs[int(rank)]] if programs and int(rank) in programs else ["-m", "viewmill.train"]
        started.append(subprocess.Popen([sys.executable, *program, *arguments], env=environment, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    return started


def wait_for_step(out: Path, step: int, process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + 300
    while time.monotonic() < limit and process.poll() is None:
        if any(row["step"] >= step for row in metrics.read(out / "metrics.jsonl")):
            return
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"step {step} was never reached: {process.communicate()}")
