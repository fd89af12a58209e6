"""A run goes on at another number of ranks, and with its weights shared out or not: the same images, weights within rounding."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from viewmill import train as training
from viewmill.models.training import checkpoint, metrics

from ..world import World
from .runs import dino_words, last_state

STEPS = ["epochs=3", "steps=9", "checkpoint.steps=3", "checkpoint.keep=9", "checkpoint.minutes=null", "batch_size=12",
         "health.every=0", "report=false"]


def arguments(shards: Path, out: Path, *more: str) -> list[str]:
    """DINO has a teacher, a center and laws of the run's progress; and no batch norm, so that the number of ranks changes nothing
    but the order of sums."""
    return [*dino_words(shards, out), *STEPS, "model.drop_path=0", *more]


def shown(words: list[str]) -> list[list[int]]:
    """Train; of each step the images that this rank was shown."""
    seen: list[list[int]] = []
    training.train(*training.read(words), between=lambda batch: seen.append(batch.index.tolist()))
    return seen


def together(ranks: list[list[list[int]]]) -> list[list[int]]:
    """Of each step the images of all ranks, whoever was shown them."""
    return [sorted(image for rank in ranks for image in rank[step]) for step in range(len(ranks[0]))]


def tensors(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    moments = {f"{number}.{name}": value for number, of in state["optimizer"]["state"].items() for name, value in of.items()}
    return state["model"] | {name: value for name, value in moments.items() if isinstance(value, torch.Tensor)}


def test_two_ranks_then_three_that_share_the_weights_out_then_one(world: World, shards: Path, tmp_path: Path) -> None:
    alone, moved = tmp_path / "alone", tmp_path / "moved"
    wanted = together(world(1, shown, arguments(shards, alone), timeout_s=300))
    assert len(wanted) == 9 and all(len(set(step)) == 12 for step in wanted)

    def back_to(step: int) -> None:
        for path in checkpoint.written(moved / "checkpoints"):
            if checkpoint.step_of(path) > step:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    first = together(world(2, shown, arguments(shards, moved), timeout_s=300))
    back_to(3)
    second = together(world(3, shown, arguments(shards, moved, "parallel=fsdp"), timeout_s=300))
    assert [path.name for path in checkpoint.written(moved / "checkpoints")] == [
        "step-00000003.pt", "step-00000006.parts", "step-00000009.parts"]
    shared = last_state(moved)
    back_to(6)
    third = together(world(1, shown, arguments(shards, moved), timeout_s=300))
    assert [len(second), len(third)] == [6, 3] and first[:3] + second[:3] + third == wanted and second == wanted[3:]
    whole = tensors(last_state(alone))
    for state in (shared, last_state(moved)):
        found = tensors(state)
        assert found.keys() == whole.keys() and state["loader"] == last_state(alone)["loader"]
        for name, value in whole.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
    losses = [[row["loss"] for row in metrics.read(out / "metrics.jsonl")] for out in (alone, moved)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3) and len(losses[0]) == 9
