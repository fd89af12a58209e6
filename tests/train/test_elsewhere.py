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
from .runs import TINY, dino_words, last_state

STEPS = ["epochs=2", "steps=6", "checkpoint.steps=2", "checkpoint.keep=9", "checkpoint.minutes=null", "batch_size=12",
         "health.every=0", "report=false"]


def arguments(method: str, shards: Path, out: Path, *more: str) -> list[str]:
    """Of networks without batch norm, for which the number of ranks changes nothing but the order of sums."""
    if method == "dino":  # a teacher, a center, laws of the run's progress
        return [*dino_words(shards, out), *STEPS, "model.drop_path=0", *more]
    small = [word for word in TINY if not word.startswith("recipe")]  # moco: a teacher and a queue, which comes round
    own = ["recipe=moco_cifar", "model.queue=48", "model.backbone=test_vit", "model.momentum=0.9",
           "model.bn_splits=1", "model.shuffle=false"]
    return ["moco", f"data={shards}/train-{{0..1}}.tar", f"out={out}", *small, *STEPS, *own, "optimizer.lr=0.01", *more]


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


@pytest.mark.parametrize("method", [pytest.param("dino", marks=pytest.mark.slow), "moco"])
def test_two_ranks_then_three_that_share_the_weights_out_then_one(
        world: World, shards: Path, tmp_path: Path, method: str) -> None:
    alone, moved = tmp_path / "alone", tmp_path / "moved"
    wanted = together(world(1, shown, arguments(method, shards, alone), timeout_s=300))
    assert len(wanted) == 6 and all(len(set(step)) == 12 for step in wanted)

    def back_to(step: int) -> None:
        for path in checkpoint.written(moved / "checkpoints"):
            if checkpoint.step_of(path) > step:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    first = together(world(2, shown, arguments(method, shards, moved), timeout_s=300))
    back_to(2)
    second = together(world(3, shown, arguments(method, shards, moved, "parallel=fsdp"), timeout_s=300))
    assert [path.name for path in checkpoint.written(moved / "checkpoints")] == [
        "step-00000002.pt", "step-00000004.parts", "step-00000006.parts"]
    shared = last_state(moved)
    back_to(4)
    third = together(world(1, shown, arguments(method, shards, moved), timeout_s=300))
    assert [len(second), len(third)] == [4, 2] and first[:2] + second[:2] + third == wanted and second == wanted[2:]
    whole = tensors(last_state(alone))
    for state in (shared, last_state(moved)):
        found = tensors(state)
        assert found.keys() == whole.keys() and state["loader"] == last_state(alone)["loader"]
        for name, value in whole.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
    losses = [[row["loss"] for row in metrics.read(out / "metrics.jsonl")] for out in (alone, moved)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3) and len(losses[0]) == 6
