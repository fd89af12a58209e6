"""Weights shared out over the ranks: after some steps they are those of DistributedDataParallel; what cannot be is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from viewmill.augment.presets import recipe
from viewmill.models import build, method_info
from viewmill.models.distributed import rank, world_size
from viewmill.models.training import pieces
from viewmill.models.training.config import RunConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.process import World as Ranks
from viewmill.models.training.sharding import refuse_unsharded
from viewmill.models.training.step import accumulated, autocast_for, learn, parallel, place
from viewmill.train import read

from ...world import World
from ..batches import batch_of, random_masks, random_views

IMAGES = 12
TINY_VIT = ["model.backbone=vit_tiny_patch16_224", "model.patch_px=8", "model.embed_dim=16", "model.depth=2", "model.heads=2"]
# One of each family, with each optimizer whose steps see whole tensors, and each way of clipping.
RUNS: dict[str, list[str]] = {
    "simclr": ["model.backbone=test_resnet", "optimizer.name=lars", "clip_grad=0.05", "clip_mode=per-tensor"],
    "moco": ["recipe=moco_cifar", "model.backbone=convnet4", "model.queue=24", "model.bn_splits=1", "sync_bn=false"],
    "swav": ["recipe=swav_cifar", "model.backbone=convnet4", "model.prototypes=8", "model.queue=0", "optimizer.name=larc"],
    "byol": ["model.backbone=test_resnet", "optimizer.name=sgd", "clip_grad=0.05", "clip_mode=per-part"],
    "vicreg": ["model.backbone=convnet4", "model.projector_hidden=16", "model.projector_dim=8"],
    "dino": ["recipe=dino_2x32", *TINY_VIT, "model.prototypes=16", "model.head_hidden=16", "model.head_bottleneck=8"],
    "mae": [*TINY_VIT, "model.decoder_dim=16", "model.decoder_depth=1", "model.decoder_heads=2", "optimizer.name=lamb",
            "clip_grad=0.05"],
    "rotnet": ["model.backbone=convnet4"],
    "dvae": ["model.vocabulary=12", "model.code_dim=6", "model.width=8"],
    "counting": ["model.backbone=convnet4", "model.hidden=16", "model.counts=12", "optimizer.name=sgd"],
    "jigsaw_plus": ["model.backbone=convnet4", "model.hidden_dim=16", "optimizer.name=sgd"],
}


def config_of(name: str, *more: str) -> RunConfig:
    recipe = [] if any(word.startswith("recipe=") for word in RUNS[name]) else [f"recipe={method_info(name).recipe_32px}"]
    return read([name, "data=x", f"batch_size={IMAGES}", *recipe, *RUNS[name], *more])[0]


def batch(name: str, step: int) -> Any:
    own = slice(rank() * IMAGES // world_size(), (rank() + 1) * IMAGES // world_size())
    if name == "mae":
        return batch_of(random_views(1, IMAGES, 32, step)[:, own], random_masks(1, IMAGES, 4, 4, 4, step)[:, own])
    if name == "rotnet":
        view = random_views(1, IMAGES, 32, step)[0, own]
        made = batch_of(torch.stack([torch.rot90(view, turn, (2, 3)) for turn in range(4)]))
        made.params = {f"global/{turn}": {"rotate": {"quarter_turns": torch.full((len(view),), turn, dtype=torch.int8).numpy()}}
                       for turn in range(4)}
        return made
    if name == "dvae":
        return batch_of(torch.rand(1, IMAGES, 3, 32, 32, generator=torch.Generator().manual_seed(step))[:, own])
    if name == "counting":
        return batch_of(whole=random_views(2, IMAGES, 32, step)[:, own], tile=random_views(4, IMAGES, 32, step + 50)[:, own])
    if name == "jigsaw_plus":
        made = batch_of(patch=random_views(9, IMAGES, 32, step)[:, own])
        index, orders = (np.arange(IMAGES, dtype=np.int32) + step)[own], recipe("jigsaw_plus_cifar").views[0]
        (every,) = (op.permutations() for op in orders.ops if op.type == "permute")
        puzzle = {"permute": {"index": index, "order": every[index]}, "occlude": {"count": (index % 3).astype(np.int8)}}
        made.params = {f"patch/{slot}": puzzle for slot in range(9)}
        return made
    return batch_of(random_views(2, IMAGES, 32, step)[:, own])


def trained(name: str, how: str, *more: str) -> tuple[dict[str, Tensor], list[float], int]:
    """Two steps and a look at features between them: all weights and buffers afterwards, norms before clipping, and how many
    tensors this rank held a piece of."""
    config = config_of(name, f"parallel={how}", *more)
    ranks = Ranks(rank(), world_size(), rank(), world_size(), torch.device("cpu"))
    method = place(build(name, config.model, image_px=32), config, ranks)
    model, optimizer, norms = parallel(method, ranks), build_optimizer(method, config.optimizer), []
    for step in range(2):
        torch.manual_seed(step)
        method.before_step(2.0 + step)
        loss = None
        if config.accumulate > 1:
            accumulated(model, batch(name, step), config.accumulate, autocast_for("fp32", ranks.device))
        else:
            loss = model(batch(name, step))["loss"]
        norm = learn(method, optimizer, loss, 0.05, config.clip_grad, 0.5, clip_mode=config.clip_mode)
        norms += [] if norm is None else [float(norm)]
        with torch.no_grad():
            method.eval()
            method.features(random_views(1, 2, 32)[0])
            method.train()
    assert isinstance(model, nn.parallel.DistributedDataParallel) == (how == "ddp")
    shared = sum(isinstance(value, DTensor) for value in method.parameters())
    state = pieces.whole(method).state_dict()
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}, norms, shared


def both(name: str, *more: str) -> tuple[tuple[dict[str, Tensor], list[float], int], tuple[dict[str, Tensor], list[float], int]]:
    torch.manual_seed(0)
    plain = trained(name, "ddp", *more)
    torch.manual_seed(0)
    return plain, trained(name, "fsdp", *more)


def assert_as_with_whole_weights(world: World, ranks: int, name: str, *more: str) -> None:
    for (expected, norms, _), (state, clipped, shared) in world(ranks, both, name, *more):
        assert shared > 5 and expected.keys() == state.keys() and len(norms) == len(clipped)
        assert clipped == pytest.approx(norms, rel=1e-4)
        for key, value in expected.items():
            torch.testing.assert_close(state[key], value, rtol=1e-3, atol=1e-4, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", RUNS)
def test_two_ranks_learn_what_they_do_with_whole_weights(world: World, name: str) -> None:
    assert_as_with_whole_weights(world, 2, name)


def of_own_images(how: str) -> list[Tensor]:
    """The statistics of a rank whose batch norms see its own images alone: after its first forward pass, of images that are
    another brightness on each rank, and after a second."""
    config = config_of("rotnet", f"parallel={how}", "sync_bn=false")
    ranks = Ranks(rank(), world_size(), rank(), world_size(), torch.device("cpu"))
    torch.manual_seed(0)
    method = place(build("rotnet", config.model, image_px=32), config, ranks)
    model, means = parallel(method, ranks), []
    for step in range(2):
        made = batch("rotnet", step)
        made.views = {"global": made.views["global"] + 10 * rank()}
        model(made)["loss"].backward()
        means.append(next(value.clone() for key, value in method.named_buffers() if key.endswith("running_mean")))
    return means


def test_statistics_of_each_ranks_own_images_begin_each_step_as_rank_0_has_them(world: World) -> None:
    plain, shared = (world(2, of_own_images, how) for how in ("ddp", "fsdp"))
    for expected, found in zip(plain, shared, strict=True):
        torch.testing.assert_close(found, expected)
    # What began at 0 moves by a tenth, so that rank 1 adds about as much in its second step as in its first: to 0.9 of rank 0's.
    (first, _), (its_first, its_second) = shared
    torch.testing.assert_close(its_second, 0.9 * first + its_first, rtol=0.1, atol=0.05)
    assert float((first - its_first).abs().max()) > 0.2


@pytest.mark.parametrize("name", ["byol", "mae"])
def test_so_do_three_ranks(world: World, name: str) -> None:
    assert_as_with_whole_weights(world, 3, name)


def test_a_batch_in_parts_is_exchanged_once(world: World) -> None:
    assert_as_with_whole_weights(world, 2, "mae", "accumulate=3")


def moved_on(name: str) -> bool:
    """Whether a fresh run that takes another's weights and averages goes on as that one does."""
    config, ranks = config_of(name, "parallel=fsdp"), Ranks(rank(), world_size(), rank(), world_size(), torch.device("cpu"))
    one, two = (place(build(name, config.model, image_px=32), config, ranks) for _ in range(2))
    first, second = build_optimizer(one, config.optimizer), build_optimizer(two, config.optimizer)
    learn(one, first, one(batch(name, 0))["loss"], 0.05, None, 0.5)
    pieces.take_weights(two, pieces.whole(one).state_dict())
    pieces.take_moments(second, pieces.whole(first).state_dict())
    for method, optimizer in ((one, first), (two, second)):
        torch.manual_seed(1)
        learn(method, optimizer, method(batch(name, 1))["loss"], 0.05, None, 0.5)
    return all(torch.equal(pieces.local(a), pieces.local(b)) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_weights_and_averages_come_whole_into_a_checkpoint_and_back(world: World) -> None:
    assert world(2, moved_on, "vicreg") == [True, True]


def test_what_cannot_be_shared_out_is_refused() -> None:
    config = config_of("rotnet", "parallel=fsdp")
    method = nn.Linear(2, 2)
    refuse_unsharded(method, config)
    with pytest.raises(ValueError, match=r"parallel=fsdp is not for deepcluster: each clustering .*; use parallel=ddp"):
        refuse_unsharded(method, replace(config, method="deepcluster"))
    with pytest.raises(ValueError, match=r"precision=fp16 .*; use precision=bf16, or parallel=ddp"):
        refuse_unsharded(method, replace(config, precision="fp16"))
    method.gain = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(ValueError, match="gain of Linear is a single number; use parallel=ddp"):
        refuse_unsharded(method, config)
