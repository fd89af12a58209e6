"""What a run says of itself: bad images, waiting, health, collapse."""

from __future__ import annotations

import io
import re
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from viewmill import train as training
from viewmill.cli import main
from viewmill.models.training import metrics, progress
from viewmill.pipelines.quarantine import read_quarantine
from viewmill.pipelines.source import ArraySource

from .runs import SIDE, THREE_EPOCHS, assert_same_run, last_state, leaves, mae_words, run


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


def test_a_method_that_paints_leaves_pictures_where_knn_is_due_and_they_move_nothing(
        shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    training.train(*training.read(mae_words(shards, parts, "epochs=3", "steps=7", "checkpoint.steps=7")))
    assert sorted(path.name for path in (parts / "pictures").iterdir()) == [
        f"step-{step:06d}.png" for step in (0, 5, 7)]  # before the first step, after an epoch of 5, at the end
    assert f"{parts}/pictures, " in capsys.readouterr().out
    training.train(*training.read(mae_words(shards, parts, "epochs=3", "knn.every=2")))
    assert sorted(path.name for path in (parts / "pictures").iterdir()) == [
        f"step-{step:06d}.png" for step in (0, 5, 7, 10, 15)]
    with monkeypatch.context() as without:
        without.setattr(training.Gallery, "of", lambda *given, **more: None)
        training.train(*training.read(mae_words(shards, whole, "epochs=3", "steps=7", "checkpoint.steps=7")))
        training.train(*training.read(mae_words(shards, whole, "epochs=3", "knn.every=2")))
    assert_same_run(whole, parts)
    assert not (whole / "pictures").exists()
    assert main(["preview", str(parts), f"out={tmp_path / 'views.png'}", f"pictures={tmp_path / 'last.png'}"]) == 0
    assert f"{tmp_path / 'last.png'}: 8 images, as the newest checkpoint of {parts} paints them" in capsys.readouterr().out
    assert (tmp_path / "last.png").read_bytes() == (parts / "pictures" / "step-000015.png").read_bytes()
    assert (tmp_path / "views.png").exists()


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
