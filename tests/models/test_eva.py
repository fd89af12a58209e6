"""EVA: what is told of hidden patches, beside what the teacher says of them; on ranks too; and that it learns."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from viewmill.augment import presets
from viewmill.models import method_info
from viewmill.models.eva import EVA, EVAConfig
from viewmill.models.pictured import Shown
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn
from viewmill.pipelines.batch import Batch

from ..world import World
from .batches import batch_of, random_views, uneven_masks
from .clip import DIM, clip_weights, save_archive
from .ranks import SGD, Told, assert_alike, steps_of
from .teaching import write_run

TINY = {"backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 32, "depth": 2, "heads": 2, "positions": "absolute",
        "layer_scale": None, "drop_path": 0.0, "teacher": "own"}


def tiny(image_px: int = 16, **fields: object) -> EVA:
    torch.manual_seed(0)
    return EVA(EVAConfig(**{**TINY, **fields}), image_px=image_px)  # type: ignore[arg-type]


def test_the_published_network_is_a_vit_of_a_billion_weights() -> None:
    with torch.device("meta"):
        method = EVA(method_info("eva").config(), image_px=224)
    d, hidden = 1408, 6144
    block = 3 * d * d + 3 * d + d * d + d + 2 * d * hidden + hidden + d + 4 * d
    encoder = 40 * block + 3 * 14 * 14 * d + d + d + 257 * d + 2 * d
    assert sum(p.numel() for p in method.encoder.parameters()) == encoder and 1.0e9 < encoder < 1.02e9
    assert sum(p.numel() for p in method.parameters()) == encoder + d + d * 768 + 768
    assert method.grid == (16, 16) and method.encoder.blocks[0].attn.num_heads == 16


def test_the_loss_is_minus_the_cosine_over_all_masked_patches_of_the_batch(tmp_path: Path) -> None:
    save_archive(clip_weights(), tmp_path / "clip.pt")
    method = tiny(teacher=str(tmp_path / "clip.pt"), target_dim=DIM)
    views, targets, masks = random_views(1, 5, 16), random_views(1, 5, 16, seed=1), uneven_masks(5)
    values = method(batch_of(masks=masks, **{"global": views, "target": targets}))
    with torch.no_grad():
        told = method.head(method.tokens(views[0], torch.from_numpy(masks[0]).flatten(1))[:, 1:]).double().numpy()
        said = method.teacher(targets[0], (4, 4)).patches.double().numpy()
    cosines = [told[n, p] @ said[n, p] / np.linalg.norm(told[n, p]) / np.linalg.norm(said[n, p])
               for n, p in zip(*np.nonzero(masks.reshape(5, 16)), strict=True)]
    assert len(cosines) == 1 + 2 + 3 + 4 + 5
    assert float(values["loss"].detach()) == pytest.approx(-np.mean(cosines), rel=1e-4)
    directions = said[masks.reshape(5, 16)]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    mean = directions.mean(0)
    assert float(values["known"]) == pytest.approx(np.linalg.norm(mean), rel=1e-4)  # = mean of d . m / |m|


def test_without_a_group_of_its_own_the_teacher_sees_the_encoders_views() -> None:
    views, masks = random_views(2, 3, 16), np.concatenate([uneven_masks(3), uneven_masks(3, 1)])
    alone = tiny()(batch_of(masks=masks, **{"global": views}))
    twice = tiny()(batch_of(masks=masks, **{"global": views, "target": views}))
    assert torch.equal(alone["loss"], twice["loss"])
    with pytest.raises(ValueError, match="group 'target' needs the views of group 'global' once more, got 1 of them beside 2"):
        tiny()(batch_of(masks=masks, **{"global": views, "target": views[:1]}))


def test_what_is_told_of_seen_patches_has_no_gradient_and_the_teacher_none() -> None:
    method, taken = tiny(), []
    method.head.register_forward_hook(lambda module, given, made: taken.append(len(given[0])))
    masks = uneven_masks(3)
    method(batch_of(random_views(1, 3, 16), masks))["loss"].backward()
    assert taken == [int(masks.sum())]
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(p.grad is None for p in method.teacher.parameters())


def test_hidden_pixels_reach_the_teacher_alone() -> None:
    method, views, masks = tiny().eval(), random_views(1, 3, 16), uneven_masks(3)
    hidden = torch.from_numpy(masks[0].repeat(4, 1).repeat(4, 2))[:, None]
    forged = torch.where(hidden, 7.0, views[0])[None]
    mask = torch.from_numpy(masks[0]).flatten(1)
    assert torch.equal(method.tokens(forged[0], mask), method.tokens(views[0], mask))
    assert not torch.equal(method(batch_of(forged, masks))["loss"], method(batch_of(views, masks))["loss"])


def test_first_weights_are_cut_gaussians_and_the_teacher_begins_as_the_encoder() -> None:
    method = tiny(embed_dim=128, first_std=0.015)
    for number, block in enumerate(method.encoder.blocks, 1):
        deeper = math.sqrt(2 * number)
        for weight, over in ((block.attn.qkv.weight, 1.0), (block.mlp.fc1.weight, 1.0), (block.attn.proj.weight, deeper),
                             (block.mlp.fc2.weight, deeper)):
            # A Gaussian between -1 and 1 standard deviation has 0.5396 of its standard deviation.
            assert float(weight.detach().std()) * over == pytest.approx(0.5396 * 0.015, rel=0.02)
            assert 0.0149 < float(weight.detach().abs().max()) * over <= 0.015 * (1 + 1e-6)
    for token in (method.mask_token, method.encoder.cls_token, method.encoder.pos_embed):
        assert 0.01 < float(token.detach().abs().max()) <= 0.015
    average = method.teacher.open().vit.state_dict()
    assert all(torch.equal(average[name], value) for name, value in method.encoder.state_dict().items())


def step_batch(step: int, which: slice) -> Batch:
    return batch_of(random_views(1, 11, 16, step)[:, which], uneven_masks(11, step)[:, which])


def two_steps(images: int) -> Told:
    return steps_of(tiny(teacher_momentum=0.5), step_batch, images)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_with_different_numbers_of_masked_patches_are_the_parts_of_one_process(world: World, ranks: int) -> None:
    assert_alike(two_steps(11), world(ranks, two_steps, 11), first=1)


def test_it_learns_what_a_frozen_teacher_says_of_what_is_hidden(tmp_path: Path) -> None:
    write_run(tmp_path, image_px=16, embed_dim=32, heads=2)
    method, slopes, along = tiny(teacher=str(tmp_path)), torch.linspace(-2, 2, 32), torch.arange(16.0)
    # Stripes of one direction each: a hidden patch is known from its neighbours.
    views = torch.stack([torch.sin(along[:, None] * s + along).expand(3, -1, -1) for s in slopes])[None]
    optimizer = build_optimizer(method, replace(SGD, name="adamw", weight_decay=0.0))
    values, losses = {}, []
    for step in range(80):
        values = method(batch_of(views, uneven_masks(32, step)))
        learn(method, optimizer, values["loss"], 3e-3, None, 0.5)
        losses.append(float(values["loss"].detach()))
    assert abs(losses[0]) < 0.3 and np.mean(losses[-5:]) < -float(values["known"]) - 0.05  # more than the mean direction


def test_pictures_show_how_near_hidden_patches_are_told() -> None:
    recipe = presets.recipe("eva_cifar")
    method, views, masks = tiny(32).eval(), random_views(1, 3, 32), uneven_masks(3, side=8)
    with torch.no_grad():
        columns = method.pictures(Shown(batch_of(views, masks), recipe))
    assert list(columns) == ["masked", "told", "original"] and all(c.shape == (3, 3, 32, 32) for c in columns.values())
    hidden = torch.from_numpy(masks[0].repeat(4, 1).repeat(4, 2))[:, None].expand(-1, 3, -1, -1)
    assert (columns["masked"][hidden] == 0.5).all() and (columns["told"][~hidden] == 0).all()
    assert torch.equal(columns["masked"][~hidden], columns["original"][~hidden])


@pytest.mark.parametrize(("fields", "message"), [
    ({"first_std": 0.0}, "model.first_std needs a number above 0, got 0.0"),
    ({"target_dim": 0}, "model.target_dim needs a whole number of at least 1, got 0"),
    ({"positions": "relative"}, "own: a teacher needs to be a plain ViT with a class token, .* got Beit"),
])
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**fields)


def test_a_run_without_a_teacher_ends_before_its_first_step() -> None:
    with pytest.raises(ValueError, match=r"needs model.teacher=PATH, or model.teacher=own"):
        tiny(teacher=None).before_step(0.0)
