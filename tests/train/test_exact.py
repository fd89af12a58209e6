"""Every method, interrupted and resumed, comes out as if nothing had been, to the bit."""

from __future__ import annotations

import io
import json
import shutil
import zlib
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from viewmill import train as training
from viewmill.models import METHODS
from viewmill.models.training import checkpoint
from viewmill.pipelines.batch import Batch

from .runs import assert_same_run, last_state
from .tiny import BATCH, EPOCH, FAMILIES, FURTHER, WORDS, all_forms, tiny_words

STEPS = 2 * EPOCH
SAVING = ("checkpoint.steps=3", "checkpoint.keep=9")


def one_run(words: list[str]) -> None:
    """A run without curves and pictures, which cost more than it; which samples its steps saw, and a sum over what it got of
    each, go to a file beside its checkpoints."""
    config, recipe = training.read(words)
    seen: list[list[int]] = []
    with pytest.MonkeyPatch.context() as without, redirect_stdout(io.StringIO()):
        without.setattr(training.metrics, "draw_curves", lambda out: None)
        without.setattr(training.Gallery, "of", lambda *args, **kwargs: None)
        summary = training.train(config, recipe, between=lambda batch: seen.extend(told(batch)))
    assert (summary["step"], summary["stopped"]) == (STEPS, 0)
    Path(config.out, "seen.json").write_text(json.dumps(seen))


def told(batch: Batch) -> list[list[int]]:
    """Of each sample: its epoch, its position, its index, and a sum over its pixels and parameters."""
    arrays = [np.moveaxis(views.numpy(), 1, 0) for views in batch.views.values()]
    arrays += [np.asarray(value) for ops in batch.params.values() for fields in ops.values() for value in fields.values()]
    assert all(len(array) == len(batch.index) for array in arrays)
    return [[batch.epoch, int(batch.position[i]), int(batch.index[i]),
             zlib.crc32(b"".join(np.ascontiguousarray(array[i]).tobytes() for array in arrays))] for i in range(len(batch.index))]


def seen_by(out: Path) -> list[list[int]]:
    found: list[list[int]] = json.loads((out / "seen.json").read_text())
    return found


def left_at(step: int, whole: Path, out: Path) -> Path:
    """A copy of a run's folder as it would be, had the run been killed some time after its checkpoint of a step."""
    shutil.copytree(whole, out)
    (out / "seen.json").unlink()
    for path in checkpoint.written(out / "checkpoints"):
        if int(path.stem.partition("-")[2]) > step:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return out


def moved(out: Path, since: Path) -> set[str]:
    """Which tensors of the network the rest of a run changed."""
    then, now = checkpoint.load(checkpoint.written(since / "checkpoints")[-1])["model"], last_state(out)["model"]
    return {name for name, value in now.items() if isinstance(value, torch.Tensor) and not torch.equal(value, then[name])}


def assert_goes_on_to_the_bit(name: str, shards: Path, out: Path) -> None:
    """From where an epoch ends, and from the middle of the next; each resumed run writes no further checkpoint, so that those of
    the whole one are seen to change nothing."""
    whole = out / "whole"
    one_run(tiny_words(name, shards, whole, *SAVING))
    assert len(seen_by(whole)) == STEPS * BATCH
    for step in (EPOCH, EPOCH + 3):
        parts = left_at(step, whole, out / f"from-{step}")
        assert last_step(parts) == step
        before = left_at(step, whole, out / f"at-{step}")
        one_run(tiny_words(name, shards, parts))
        assert_same_run(whole, parts)
        assert seen_by(parts) == seen_by(whole)[step * BATCH:]
        assert len(moved(parts, before)) > 2


def last_step(out: Path) -> int:
    return int(checkpoint.load(checkpoint.written(out / "checkpoints")[-1])["step"])


def test_every_method_has_a_tiny_form() -> None:
    missing = ", ".join(name for name in METHODS if name not in WORDS)
    assert not missing, f"without a tiny form, which WORDS in tests/train/tiny.py is for: {missing}"
    assert {*WORDS} == {*METHODS} and {*FAMILIES} < {*METHODS} and {of[0] for of in FURTHER.values()} < {*METHODS}


@pytest.mark.parametrize("name", FAMILIES)
def test_one_of_each_family_goes_on_to_the_bit(name: str, shards: Path, tmp_path: Path) -> None:
    assert_goes_on_to_the_bit(name, shards, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in all_forms() if name not in FAMILIES])
def test_every_method_goes_on_to_the_bit(name: str, shards: Path, tmp_path: Path) -> None:
    assert_goes_on_to_the_bit(name, shards, tmp_path)
