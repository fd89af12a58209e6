"""Fixtures of all tests of training: shards, and a run that nothing interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from .runs import NOISY, THREE_EPOCHS, run, write_shard


@pytest.fixture(scope="package")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of train-0.tar and train-1.tar, 40 images each, and test-0.tar, 24."""
    folder = tmp_path_factory.mktemp("shards")
    for name, count, seed in (("train-0.tar", 40, 1), ("train-1.tar", 40, 2), ("test-0.tar", 24, 3)):
        write_shard(folder / name, count, seed)
    return folder


@pytest.fixture(scope="package", autouse=True)
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


@pytest.fixture(scope="package")
def unbroken(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs of five steps, with kNN after each, not interrupted."""
    out = tmp_path_factory.mktemp("unbroken")
    summary = run(shards, out, *THREE_EPOCHS)
    assert (summary["step"], summary["stopped"]) == (15, 0)
    return out
