"""What iBOT and DINOv2 share: which patches are hidden, what comes of their tokens, what is told of them, and their pictures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import viewmill as vm
from torch import nn
from viewmill.augment import presets
from viewmill.augment.ops.normalize import IMAGENET_MEAN, IMAGENET_STD
from viewmill.models.backbone import backbone, vision_transformer
from viewmill.models.heads import DinoHead
from viewmill.models.masked_crops import (
    colours_of,
    hidden_in,
    named,
    patch_health,
    refuse_unmaskable,
    token_pictures,
    tokens_of,
)
from viewmill.models.pictured import Shown
from viewmill.models.vit import open_to_sizes

from ..world import World
from .batches import batch_of, random_masks, random_views


def vit(image_px: int = 16) -> nn.Module:
    torch.manual_seed(0)
    module = vision_transformer("vit_tiny_patch16_224", image_px, patch_px=4, embed_dim=12, depth=2, heads=3).eval()
    open_to_sizes(module)
    return module


def uneven(views: int, images: int, seed: int = 0) -> np.ndarray:
    """(views, images, 4, 4) bool, each with another number of masked patches, the first with none."""
    rank = np.random.default_rng(seed).random((views * images, 16)).argsort(-1).argsort(-1)
    counts = (np.arange(views * images) * 3) % 8
    return (rank < counts[:, None]).reshape(views, images, 4, 4)


def test_masked_patches_come_in_the_order_of_views_images_and_places() -> None:
    masks = uneven(2, 3)
    hidden = hidden_in(batch_of(random_views(2, 3, 16), masks), vit())
    patches = torch.arange(2 * 3 * 16.0).view(6, 16, 1)
    expected = [patches[view * 3 + image, 4 * y + x, 0] for view, image, y, x in zip(*np.nonzero(masks), strict=True)]
    assert hidden.of(patches)[:, 0].tolist() == expected and len(expected) == int(masks.sum())
    assert torch.equal(hidden.mask, torch.from_numpy(masks).reshape(6, 16))
    assert float(hidden.weights.sum()) == pytest.approx(5 / 6)  # one of the six has no mask


def test_class_token_and_patches_are_those_of_the_whole_network() -> None:
    module, images = vit(), random_views(1, 3, 16)[0]
    first, patches = tokens_of(module, images)
    whole = module.forward_features(images)  # type: ignore[operator]
    torch.testing.assert_close(first, whole[:, 0])
    torch.testing.assert_close(patches, whole[:, 1:])
    assert tokens_of(module, random_views(1, 2, 8)[0])[1].shape == (2, 4, 12)


def test_pixels_of_hidden_patches_change_nothing_and_those_of_others_do() -> None:
    module, images, masks = vit(), random_views(1, 3, 16)[0], random_masks(1, 3, 4, 4, 9)[0]
    token, mask = torch.zeros(1, 1, 12), torch.from_numpy(masks).flatten(1)
    pixels = torch.from_numpy(masks.repeat(4, 1).repeat(4, 2))[:, None]
    seen = tokens_of(module, images, token, mask)
    for one, other in zip(seen, tokens_of(module, torch.where(pixels, 7.0, images), token, mask), strict=True):
        assert torch.equal(one, other)
    assert not torch.allclose(tokens_of(module, torch.where(pixels, images, 7.0), token, mask)[0], seen[0])


def by_hand(teacher: np.ndarray, costs: np.ndarray) -> list[float]:
    entropy = lambda p: -(p * np.log(p)).sum(-1)  # noqa: E731
    return [float(entropy(teacher).mean() / math.log(7)), float(entropy(teacher.mean(0)) / math.log(7)),
            float(costs.mean() - entropy(teacher).mean())]


def answers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    teacher = rng.dirichlet(np.full(7, 0.3), 11) + 1e-9
    return teacher / teacher.sum(-1, keepdims=True), rng.random(11) + 2


def test_signs_of_patches_by_hand() -> None:
    teacher, costs = answers()
    told = patch_health(torch.from_numpy(teacher), torch.from_numpy(costs))
    assert list(told) == ["patch_teacher_entropy", "patch_teacher_marginal_entropy", "patch_kl"]
    assert [float(value) for value in told.values()] == pytest.approx(by_hand(teacher, costs), rel=1e-6)
    one = torch.eye(7)[:1].expand(5, -1)
    assert [float(v) for v in patch_health(one, torch.ones(5)).values()] == [0, 0, 1]
    # Made even: whether all say one thing is seen before.
    even = patch_health(torch.full((5, 7), 1 / 7), torch.ones(5), before=one)
    assert [float(v) for v in even.values()] == pytest.approx([1, 0, 1 - math.log(7)])
    assert all(math.isnan(float(v)) for v in patch_health(torch.zeros(0, 7), torch.zeros(0)).values())


def told_by_ranks(parts: list[slice]) -> list[float]:
    part = parts[dist.get_rank()]
    teacher, costs = (torch.from_numpy(each)[part] for each in answers())
    return [float(value) for value in patch_health(teacher, costs).values()]


def test_ranks_tell_the_same_of_the_patches_of_all_also_where_one_has_none(world: World) -> None:
    expected = by_hand(*answers())
    for parts in ([slice(0, 4), slice(4, 11)], [slice(0, 9), slice(9, 9), slice(9, 11)]):
        for told in world(len(parts), told_by_ranks, parts):
            assert told == pytest.approx(expected, rel=1e-6)


def test_each_patch_is_named_by_its_highest_logit_less_the_center() -> None:
    torch.manual_seed(0)
    head, patches = DinoHead(12, 9, hidden_dim=8, bottleneck_dim=4), torch.randn(3, 5, 12)
    with torch.no_grad():
        logits = head(patches.flatten(0, 1)).unflatten(0, (3, 5))
        assert torch.equal(named(head, head.prototypes, patches), logits.argmax(-1))
        center = torch.zeros(9)
        center[logits[0, 0].argmax()] = 5.0
        assert int(named(head, head.prototypes, patches, center)[0, 0]) == int(logits[0, 0].topk(2).indices[1])


def test_a_number_has_one_colour_and_another_has_another() -> None:
    tokens = torch.arange(64).view(1, 8, 8)
    colours = colours_of(tokens)
    assert colours.shape == (1, 3, 8, 8) and float(colours.min()) >= 0 and float(colours.max()) <= 1
    flat = colours.flatten(2)[0].T
    apart = torch.cdist(flat, flat) + 2 * torch.eye(64)
    assert float(apart.min()) > 0.01 and float(apart.diagonal(1).min()) > 0.3
    assert torch.equal(colours_of(tokens.flip(1)), colours.flip(2))
    # Number 0: hue 0 and the least brightness, red; the rest 3 tenths of it.
    assert flat[0].tolist() == pytest.approx([0.55, 0.55 * 0.3, 0.55 * 0.3], abs=1e-6)


def test_pictures_show_names_beside_what_is_seen() -> None:
    levels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 3, 32, 32)).astype(np.float32))
    mean, std = (torch.tensor(of)[:, None, None] for of in (IMAGENET_MEAN, IMAGENET_STD))
    masks = np.random.default_rng(1).random((2, 3, 8, 8)) < 0.3
    batch = Shown(batch_of((levels / 255 - mean) / std, masks), presets.recipe("ibot_2x32"))
    tokens = torch.arange(3 * 64).view(3, 64)
    columns = token_pictures(batch, tokens, tokens + 1)
    assert list(columns) == ["original", "teacher's tokens", "masked", "student's tokens"]
    torch.testing.assert_close(columns["original"], levels[0] / 255)
    gray = torch.from_numpy(masks[0].repeat(4, 1).repeat(4, 2))[:, None].expand(-1, 3, -1, -1)
    assert (columns["masked"][gray] == 0.5).all()
    torch.testing.assert_close(columns["masked"][~gray], (levels[0] / 255)[~gray])
    for title, more in (("teacher's tokens", 0), ("student's tokens", 1)):
        assert torch.equal(columns[title], colours_of((tokens + more).view(3, 8, 8)))


def test_what_does_not_fit_is_refused() -> None:
    views = random_views(2, 2, 16)
    with pytest.raises(ValueError, match="masks of 8 x 8 patches do not fit a backbone of 4 x 4 patches of 4 px; set model"):
        hidden_in(batch_of(views, random_masks(2, 2, 8, 8, 9)), vit())
    with pytest.raises(ValueError, match="each of the 2 views of group 'global' needs a mask, 1 have one"):
        hidden_in(batch_of(views, random_masks(1, 2, 4, 4, 9)), vit())
    with pytest.raises(ValueError, match="the recipe draws no masks for group 'global'"):
        hidden_in(batch_of(views), vit())
    with pytest.raises(ValueError, match="takes no views of 10 x 10 px"):
        tokens_of(vit(), random_views(1, 1, 10)[0])
    for name, options in (("convnet4", {}), ("resnet18", {}), ("vit_base_patch16_siglip_224", {"depth": 1})):
        with pytest.raises(ValueError, match=f"some hides patches, and backbone '{name}' is no plain vision transformer"):
            refuse_unmaskable(backbone(name, 224 if name.startswith("vit") else 32, **options)[0], name, "some")
    refuse_unmaskable(vit(), "vit_tiny_patch16_224", "some")


@pytest.mark.parametrize("name", ["ibot_cifar", "ibot_2x32", "dinov2_cifar", "dinov2_2x32"])
def test_views_at_32_px_bring_masks_of_patches_of_4_px(name: str) -> None:
    recipe, count = vm.recipe(name), 64
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    params = vm.draw(recipe, 0, 0, np.arange(count), np.full((count, 2), 32), position=np.arange(count), length=count)
    views = vm.render(list(images), recipe, params, engine="torch")
    hidden = hidden_in(replace(batch_of(**views), params=params), vit(32))
    counts = hidden.mask.sum(1)
    assert hidden.mask.shape == (2 * count, 64)
    # iBOT: after a coin a tenth to a half of the patches, or a few less; DINOv2: so of exactly half of the views.
    masked = counts[counts > 0]
    assert int(masked.min()) >= 4 and int(masked.max()) <= 32
    assert len(masked) == count if name.startswith("dinov2") else 44 <= len(masked) <= 84
    for view in views.get("local", ()):
        assert tokens_of(vit(32), view)[1].shape == (count, 16, 12)
