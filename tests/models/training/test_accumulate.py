"""A batch in parts, one after the other: the gradient of the whole, for every method that says it can, and no other."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from viewmill.models import METHODS, build, method_info
from viewmill.models.distributed import rank, world_size
from viewmill.models.mae import MAEConfig
from viewmill.models.method import Method
from viewmill.models.training.step import accumulated, image_side, refuse_parts
from viewmill.models.views import left_to
from viewmill.pipelines.batch import Batch
from viewmill.train import read

from ...world import World
from ..batches import batch_of, handed_batch, random_masks, random_views

IMAGES = 6
PARTED = ("byol", "simsiam", "rotnet", "context", "jigsaw", "jigsaw_plus", "pseudo_labels", "colorization", "split_brain", "mae",
          "simmim", "maskfeat", "data2vec", "igpt", "milan", "eva")
WORDS = {"igpt": ["model.colours=8"], "eva": ["model.teacher=own"], "milan": ["model.teacher=own"],
         "pseudo_labels": ["model.labels={folder}/labels.npy", "model.clusters=2"]}
UNEVEN = ("maskfeat", "data2vec", "eva")  # whose blocks hide more of one image than of another


def small(name: str, folder: Path) -> tuple[Method, Batch, Any]:
    """A method of the small run's kind, batch norms with their running statistics and nothing dropped, and a batch for it."""
    info = method_info(name)
    np.save(folder / "labels.npy", np.arange(IMAGES) % 2)
    words = [word for word in info.small if not word.startswith(("model.teacher", "model.labels"))]
    words += [word.format(folder=folder) for word in WORDS.get(name, [])]
    config, recipe = read([name, "data=x.tar", f"recipe={info.recipe_32px}", *words])
    torch.manual_seed(0)
    method = build(name, config.model, image_px=image_side(recipe), images=IMAGES)
    for module in method.modules():
        if isinstance(module, _BatchNorm | nn.Dropout):
            module.eval()
    images = np.random.default_rng(1).integers(0, 256, (IMAGES, 40, 40, 3), np.uint8)
    return method, handed_batch(recipe, images, left_to(method)), config


def gradients(method: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", [name for name in PARTED if name not in (*UNEVEN, "jigsaw_plus")])  # the last is jigsaw's class
def test_the_gradient_in_parts_is_that_of_the_whole(name: str, tmp_path: Path) -> None:
    method, batch, config = small(name, tmp_path)
    refuse_parts(method, replace(config, accumulate=3), IMAGES)
    method.before_step(0.5)
    loss = method(batch)["loss"]
    loss.backward()
    whole = gradients(method)
    values = accumulated(method, batch, 3, nullcontext)
    assert float(values["loss"]) == pytest.approx(float(loss.detach()), rel=1e-5) and not values["loss"].requires_grad
    parts = gradients(method)
    assert parts.keys() == whole.keys() and len(parts) > 2
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-3, atol=1e-6 + 1e-4 * float(value.abs().max()), msg=key)


@pytest.mark.parametrize("name", UNEVEN)
def test_parts_with_unlike_numbers_of_hidden_patches_weigh_alike(name: str, tmp_path: Path) -> None:
    method, batch, _ = small(name, tmp_path)
    method.before_step(0.5)
    expected: dict[str, torch.Tensor] = {}
    for first in (0, 2, 4):
        method.zero_grad(set_to_none=True)
        method(batch.rows(first, first + 2))["loss"].backward()
        for key, value in gradients(method).items():
            expected[key] = expected.get(key, torch.zeros(())) + value / 3
    accumulated(method, batch, 3, nullcontext)
    for key, value in gradients(method).items():
        torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-6 + 1e-4 * float(value.abs().max()), msg=key)


def test_those_that_can_are_these() -> None:
    assert {name for name in METHODS if method_info(name).load().whole_batch is None} == set(PARTED)


def of_ranks(parts: int) -> dict[str, torch.Tensor]:
    """The gradients of MAE on this rank's half of 8 images, as DDP leaves them; alone, on all 8."""
    torch.manual_seed(0)
    model: nn.Module = build("mae", MAEConfig(backbone="vit_tiny_patch16_224", patch_px=4, embed_dim=32, depth=1, heads=2,
                                              decoder_dim=16, decoder_depth=1, decoder_heads=2), image_px=16)
    batch = batch_of(random_views(1, 8, 16), random_masks(1, 8, 4, 4, 4))
    batch = batch.rows(rank() * 8 // world_size(), (rank() + 1) * 8 // world_size())
    wrapped = nn.parallel.DistributedDataParallel(model) if world_size() > 1 else model
    if parts == 1:
        wrapped(batch)["loss"].backward()
    else:
        accumulated(wrapped, batch, parts, nullcontext)
    return gradients(model)


def test_ranks_exchange_what_their_parts_add_up_to(world: World) -> None:
    alone = of_ranks(1)
    for found in world(2, of_ranks, 2):
        for key, value in alone.items():
            torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-6)
