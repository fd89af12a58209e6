"""Methods with a memory, on several ranks: loss, gradient and memory are those of one process with all the images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from viewmill.models.cmc import CMC, CMCConfig
from viewmill.models.decoupling import Decoupling, DecouplingConfig
from viewmill.models.method import Method
from viewmill.models.pirl import PIRL, PIRLConfig
from viewmill.pipelines.batch import Batch

from ..world import World
from .batches import batch_of, random_views
from .ranks import Told, assert_alike, steps_of

IMAGES, INDEX = 14, torch.tensor([3, 13, 0, 7, 8, 4])


def method_of(name: str, negatives: int) -> Method:
    torch.manual_seed(0)
    fields: dict[str, Any] = {"dim": 8, "negatives": negatives, "temperature": 0.3}
    if name == "cmc":
        return CMC(CMCConfig("test_vit", 1.0, **fields), image_px=32, images=IMAGES)
    if name == "pirl":
        return PIRL(PIRLConfig("convnet4", **fields), image_px=32, images=IMAGES)
    return Decoupling(DecouplingConfig("test_vit", **fields), image_px=32, images=IMAGES)


def part(name: str, own: slice) -> Batch:
    """Some of six images."""
    images = random_views(1, 6, 32)
    if name == "cmc":
        batch = batch_of(luma=images[:, own, :1], chroma=images[:, own, 1:])
    elif name == "pirl":
        batch = batch_of(images[:, own], patch=random_views(9, 6, 16, seed=1)[:, own])
    else:
        batch = batch_of(torch.stack([torch.rot90(images[0, own], turn, (2, 3)) for turn in range(4)]))
        batch.params = {f"global/{turn}": {"rotate": {"quarter_turns": np.full(len(batch.index), turn, np.int8)}}
                        for turn in range(4)}
    batch.index = INDEX[own]
    return batch


def two_steps(name: str, negatives: int) -> Told:
    """The second looks at rows that the first has written, with the first's normalizer."""
    return steps_of(method_of(name, negatives), lambda step, own: part(name, own), 6)


@pytest.mark.parametrize("negatives", [0, 5])
@pytest.mark.parametrize("name", ["cmc", "pirl", "decoupling"])
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_have_the_loss_the_gradient_and_the_memory_of_one(world: World, ranks: int, name: str, negatives: int) -> None:
    alone = two_steps(name, negatives)
    assert_alike(alone, world(ranks, two_steps, name, negatives))
    assert len(alone.rows) == (2 if name == "cmc" else 1)
