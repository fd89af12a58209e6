"""Methods with a memory, on several ranks: loss, gradient and memory are those of one process with all the images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from viewmill.models.cmc import CMC, CMCConfig
from viewmill.models.decoupling import Decoupling, DecouplingConfig
from viewmill.models.distributed import leave_alone
from viewmill.models.method import Method
from viewmill.models.pirl import PIRL, PIRLConfig
from viewmill.models.rows import whole_rows
from viewmill.pipelines.batch import Batch

from ..world import World
from .batches import batch_of, random_views

IMAGES, INDEX = 14, torch.tensor([3, 13, 0, 7, 8, 4])


def method_of(name: str, negatives: int) -> Method:
    """Networks without batch norm, whose statistics each rank takes of its own images; PIRL's in evaluation mode."""
    torch.manual_seed(0)
    fields: dict[str, Any] = {"dim": 8, "negatives": negatives, "temperature": 0.3}
    if name == "cmc":
        return CMC(CMCConfig("test_vit", 1.0, **fields), image_px=32, images=IMAGES)
    if name == "pirl":
        method = PIRL(PIRLConfig("convnet4", **fields), image_px=32, images=IMAGES)
        method.encoder.eval()
        return method
    return Decoupling(DecouplingConfig("test_vit", **fields), image_px=32, images=IMAGES)


def part(name: str, rank: int, ranks: int) -> Batch:
    """That rank's images of six."""
    images, own = random_views(1, 6, 32), slice(rank * 6 // ranks, (rank + 1) * 6 // ranks)
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


def steps(name: str, negatives: int) -> tuple[list[float], list[torch.Tensor], dict[str, torch.Tensor]]:
    """Two steps without an optimizer: the losses, the gradients of the second, the memory after it."""
    method = method_of(name, negatives)
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    model: nn.Module = method
    if ranks > 1:
        leave_alone(method)
        model = nn.parallel.DistributedDataParallel(method)
        if name == "pirl":
            method.encoder.eval()
    losses = []
    for _ in range(2):  # the second looks at rows that the first has written, with the first's normalizer
        model.zero_grad()
        loss = model(part(name, rank, ranks))["loss"]
        loss.backward()
        method.after_step(0.5)
        losses.append(float(loss.detach()))
    return losses, [p.grad for p in method.parameters() if p.grad is not None], whole_rows(method)


@pytest.mark.parametrize("negatives", [0, 5])
@pytest.mark.parametrize("name", ["cmc", "pirl", "decoupling"])
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_have_the_loss_the_gradient_and_the_memory_of_one(world: World, ranks: int, name: str, negatives: int) -> None:
    losses, gradients, memory = steps(name, negatives)
    of_ranks = world(ranks, steps, name, negatives)
    assert np.mean([each for each, _, _ in of_ranks], 0) == pytest.approx(losses, rel=1e-5)
    for _, found, _ in of_ranks:
        for gradient, expected in zip(found, gradients, strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)
    for key, rows in memory.items():
        torch.testing.assert_close(of_ranks[0][2][key], rows, rtol=1e-4, atol=1e-6)
    assert len(memory) == (2 if name == "cmc" else 1)
