"""Tars of a few labelled pictures, and the words of a bench that takes seconds on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.train.runs import write_shard

TINY = ("train.batch_size=16", "train.epochs=1", "train.log_every=1", "train.loader.sidecar=false",
        "simclr.model.backbone=test_resnet", "seeds=1", "torch_threads=1", "threads=1", "knn.k=[3]",
        "linear.batch_size=16", "linear.epochs=2", "linear.lr=[0.1]",
        "linear.sidecar=false", "finetune.batch_size=16", "finetune.epochs=1", "finetune.sidecar=false", "calibration_images=64",
        "resamples=500")


@pytest.fixture(scope="session")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train-0.tar to train-2.tar of 40, 40 and 32 pictures, test-0.tar of 24; four classes by colour."""
    folder = tmp_path_factory.mktemp("tars")
    for name, count, seed in (("train-0", 40, 1), ("train-1", 40, 2), ("train-2", 32, 4), ("test-0", 24, 3)):
        write_shard(folder / f"{name}.tar", count, seed)
    return folder


def words(tars: Path, out: Path, *more: str) -> list[str]:
    return ["simclr", f"data={tars}/train-*.tar", f"test_data={tars}/test-*.tar", f"out={out}", *TINY, *more]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
