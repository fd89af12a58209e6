"""Tars of a few labelled pictures, and a study that takes seconds on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from viewmill import train
from viewmill.evaluation.scoreboard import judging
from viewmill.evaluation.scoreboard.making import Interrupted, Maker

from tests.train.runs import write_shard

STUDY = """
question: What do gray pictures and jitter do for SimCLR?
source: nobody
method: simclr
base: {epochs: 1, batch_size: 16, model.backbone: test_resnet, log_every: 1, loader.sidecar: false}
factors:
  gray: {key: recipe.global.grayscale.p, levels: [0, 0.2]}
  no-jitter: {recipe.global.jitter: none}
design: pairwise
settings: {seeds: 1, protocols: [knn], knn.k: [3], resamples: 200, torch_threads: 1, threads: 1, calibration_images: 64}
"""
ARMS = ("base", "gray-0", "no-jitter", "gray-0_no-jitter")


@pytest.fixture(scope="session")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train-0.tar and train-1.tar of 40 pictures, test-0.tar of 24; four classes by colour."""
    folder = tmp_path_factory.mktemp("tars")
    for name, count, seed in (("train-0", 40, 1), ("train-1", 40, 2), ("test-0", 24, 3)):
        write_shard(folder / f"{name}.tar", count, seed)
    return folder


@pytest.fixture
def words(tars: Path, tmp_path: Path) -> list[str]:
    """The words of `viewmill` that make the study into tmp_path/out."""
    (tmp_path / "tiny.yaml").write_text(STUDY)
    return ["ablate", f"{tmp_path}/tiny.yaml", f"data={tars}/train-*.tar", f"test_data={tars}/test-*.tar", f"out={tmp_path}/out"]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a child would do is done in this process, which is quicker; the list of what was done, a word for each."""
    done: list[str] = []

    def child(self: Maker, what: str, command: list[str], folder: Path, until: object = None) -> str | None:
        if self.stop.signal:
            raise Interrupted(self.stop.signal)
        done.append(f"{what} {folder.name}")
        status = train.main(command[3:]) if what == "train" else judging.main(command[3])
        return None if status == 0 else f"status {status}"

    monkeypatch.setattr(Maker, "_child", child)
    return done


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
