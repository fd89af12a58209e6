"""The folder of a run, written by hand, as training and evaluation leave one."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from viewmill import train
from viewmill.evaluation import command
from viewmill.evaluation.figures import figure
from viewmill.models.training.overrides import plain

STEPS, LOG_EVERY = 60, 2


def write_run(folder: Path, data: str = "absent.tar", *more: str, knn: float = 0.5, name: str = "simclr",
              losses: list[float | None] | None = None) -> Path:
    """A run of 60 steps of 8 images, a line for every second; health every 20 steps, kNN at 0, 30 and 60."""
    words = [name, f"data={data}", f"out={folder}", "recipe=simclr_cifar", "batch_size=8", "epochs=3", "model.backbone=convnet4",
             *more]
    config, recipe = train.read(words)
    about: dict[str, Any] = {
        "config": plain(config), "recipe": recipe.to_dict(), "images": 160,
        "steps": {"per_epoch": 20, "total": STEPS, "warmup": 6},
        "ranks": 1, "device": "CPU (x86_64)", "threads": {"torch": 2, "rendering": 1}, "commit": "0123456789abcdef0123",
        "versions": {"viewmill": "0.1.0", "torch": "2.9.0"}}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(about))
    start = {key: value for key, value in about.items() if key != "recipe"}
    start |= {"time": "2026-03-04T05:06:07+00:00", "host": "here"}
    (folder / "starts.jsonl").write_text(json.dumps(start) + "\n")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(knn, losses)))
    return folder


def rows(knn: float, losses: list[float | None] | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"step": 0, "epoch": 0.0, "knn_raw_pixels": 0.25, "knn_untrained": 0.3, "knn": 0.3}]
    for number, step in enumerate(range(LOG_EVERY, STEPS + 1, LOG_EVERY)):
        row = {"step": step, "epoch": step / 20, "loss": losses[number] if losses else 5.0 - step / 20, "lr": 0.1 * step / 60,
               "images_per_s": 100.0, "data_wait": 0.02, "data/read": 8 * step, "data/read_bytes": 8000 * step,
               "data/substituted": 0}
        if step % 20 == 0:
            row |= {"health_std": 0.5, "health_rankme": 10.0 + step, "health_negative": 0.1}
        found.append(row)
        if step % 30 == 0:
            found.append({"step": step, "epoch": step / 20, "knn": knn, "knn_seconds": 1.0})
    return found


def write_result(folder: Path, top1: float = 0.5, file: str = "knn.json", **more: Any) -> None:
    """What `viewmill eval knn` keeps, of 100 test pictures."""
    words = ["knn", str(folder), "data=a.tar", "test_data=b.tar", "k=[5]", "max_images=40"]
    name, what, config, own = command.read(words)
    said = {"eval": name, "encoder": what, "name": f"simclr of {folder}, step 60", "top1": top1, "k": 5, "by_k": {"5": top1},
            "seconds": 2.5, "pictures": 40, "test_pictures": 100, "config": {**plain(config), **plain(own)}, **more}
    (folder / "eval").mkdir(exist_ok=True)
    (folder / "eval" / file).write_text(json.dumps(said))


def write_pictures(folder: Path, steps: list[int]) -> None:
    """A figure that says what it shows, a picture that says nothing, and a sheet of the gallery for each step."""
    grey = Image.new("RGB", (40, 30), "#808080")
    figure.save(grey, folder / "figures" / "neighbours.png", title="Nearest neighbours", caption="Of four <queries>.",
                command=["viewmill", "eval", "figure", "neighbours", str(folder), "out=a b.png"])
    grey.save(folder / "curves.png")
    (folder / "pictures").mkdir()
    for step in steps:
        Image.new("RGB", (60, 50), (step % 256, 0, 0)).save(folder / "pictures" / f"step-{step:06d}.png")


def write_shard(path: Path, count: int = 6) -> Path:
    """Pictures of 48 x 40 px, noise."""
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(buffer, "JPEG")
            info = tarfile.TarInfo(f"{number:05d}.jpg")
            info.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(info, buffer)
    return path
