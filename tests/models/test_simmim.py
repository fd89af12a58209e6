"""SimMIM: where the mask vector goes in, in a transformer and in a Swin, what is painted where, what it costs to paint it wrong,
on ranks too, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from viewmill.augment import presets
from viewmill.augment.ops.normalize import IMAGENET_MEAN, IMAGENET_STD
from viewmill.models import method_info
from viewmill.models.pictured import Shown
from viewmill.models.simmim import SimMIM, SimMIMConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn
from viewmill.pipelines.batch import Batch

from ..world import World
from .batches import batch_of, random_masks, random_views, uneven_masks
from .finite_differences import assert_mask_gradient
from .ranks import SGD, Told, assert_alike, steps_of

TINY = {"backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 32, "depth": 2, "heads": 2, "drop_path": 0.0}
SWIN = {"backbone": "swin_tiny_patch4_window7_224", "patch_px": 2, "embed_dim": 24, "window": 4, "layer_scale": None,
        "drop_path": 0.0, "depth": None, "heads": None}


def small(image_px: int = 16, **fields: object) -> SimMIM:
    torch.manual_seed(0)
    return SimMIM(SimMIMConfig(**{**TINY, **fields}), image_px=image_px)  # type: ignore[arg-type]


def test_the_published_networks_and_what_they_paint() -> None:
    info = method_info("simmim")
    with torch.device("meta"):
        vit = SimMIM(info.config(), image_px=224)
        swin = SimMIM(info.config(**info.variants["swin_b"].fields), image_px=192)
        large = SimMIM(info.config(**info.variants["swin_l"].fields), image_px=192)
    counts = [sum(p.numel() for p in module.parameters()) for module in (vit, vit.head, swin.head)]
    # BEiT's form of ViT-B/16 (see test_masked_transformer), a mask vector, and 768 -> 16 * 16 * 3 with biases.
    encoder = 85_798_656 - 197 * 768 + (27**2 + 3) * 12 + 12 * 2 * 768 - 12 * 768
    assert counts == [encoder + 768 + 768 * 768 + 768, 768 * 768 + 768, 1024 * 32 * 32 * 3 + 32 * 32 * 3]
    assert (vit.stride, swin.stride, swin.grid, vit.grid) == (16, 32, (48, 48), (14, 14))
    assert swin.mask_token.shape == (1, 1, 128) and swin.feature_dim == 1024
    assert [net.encoder.layers[0].blocks[0].attn.window_size for net in (swin, large)] == [(6, 6), (12, 12)]


def test_swin_b_has_the_papers_weights() -> None:
    """By hand, for windows of 6: 4 stages of D = 128 .. 1024, of 2, 2, 18, 2 blocks
    with 12 D * D + 13 D each, and (2 * 6 - 1)^2 biases a head, of 4 .. 32 heads; between stages 4 D -> 2 D without biases behind
    a norm; patches of 4 px, normed."""
    with torch.device("meta"):
        swin = SimMIM(SimMIMConfig(**method_info("simmim").variants["swin_b"].fields), image_px=192)
    expected = 4 * 4 * 3 * 128 + 128 + 2 * 128 + 2 * 1024
    for stage, (depth, heads) in enumerate(zip((2, 2, 18, 2), (4, 8, 16, 32), strict=True)):
        dim = 128 * 2**stage
        expected += depth * (12 * dim**2 + 13 * dim + 11**2 * heads)
        expected += (4 * dim * 2 * dim + 2 * 4 * dim) if stage < 3 else 0
    assert sum(p.numel() for p in swin.encoder.parameters()) == expected


@pytest.mark.parametrize(("fields", "side_px"), [({}, 16), (SWIN, 32)])
def test_the_loss_is_the_mean_over_hidden_pixels_and_channels(fields: dict[str, object], side_px: int) -> None:
    method = small(side_px, **fields)
    side, patch = method.grid[0], method.patch_px
    views, masks = random_views(2, 3, side_px), uneven_masks(6, side=side).reshape(2, 3, side, side)
    values = method(batch_of(views, masks))
    images, hidden = views.flatten(0, 1), masks.reshape(6, side, side)
    with torch.no_grad():
        painted = method.paint(images, torch.from_numpy(hidden).flatten(1)).double().numpy()
    apart = [abs(painted[n, c, y, x] - images[n, c, y, x].double().item())
             for n, row, column in np.argwhere(hidden) for c in range(3)
             for y in range(row * patch, (row + 1) * patch) for x in range(column * patch, (column + 1) * patch)]
    assert len(apart) == hidden.sum() * 3 * patch**2 and hidden.sum() == 1 + 2 + 3 + 4 + 5 + 1
    assert float(values["loss"].detach()) == pytest.approx(np.mean(apart), rel=1e-5)


def test_each_token_paints_the_pixels_that_it_stands_for_channel_by_channel() -> None:
    # Biases alone, that name their place: the pixel's row and column inside its token, and its channel.
    method = small()
    with torch.no_grad():
        method.head.weight.zero_()
        method.head.bias.copy_(torch.arange(48.0))
        painted = method.paint(random_views(1, 1, 16)[0], torch.zeros(1, 16, dtype=torch.bool))[0]
    for channel, row, column in np.ndindex(3, 16, 16):
        assert painted[channel, row, column] == 16 * channel + 4 * (row % 4) + column % 4
    # And weights on the first feature alone: tokens lie row by row.
    with torch.no_grad():
        method.head.weight[:, 0] = 1
        method.head.bias.zero_()
        tokens = method.tokens(random_views(1, 1, 16)[0], torch.zeros(1, 16, dtype=torch.bool))[0, 1:, 0].reshape(4, 4)
        painted = method.paint(random_views(1, 1, 16)[0], torch.zeros(1, 16, dtype=torch.bool))[0, 0, ::4, ::4]
    torch.testing.assert_close(painted, tokens)


@pytest.mark.parametrize(("fields", "side_px"), [({}, 16), (SWIN, 32)])
def test_hidden_pixels_change_nothing_that_is_painted(fields: dict[str, object], side_px: int) -> None:
    method, images = small(side_px, **fields).eval(), random_views(1, 2, side_px)[0]
    masks = random_masks(1, 2, *method.grid, 5)[0]
    mask = torch.from_numpy(masks).flatten(1)
    hidden = torch.from_numpy(masks.repeat(method.patch_px, 1).repeat(method.patch_px, 2))[:, None]
    with torch.no_grad():
        painted = method.paint(images, mask)
        assert torch.equal(method.paint(torch.where(hidden, 7.0, images), mask), painted)
        assert not torch.allclose(method.paint(torch.where(hidden, images, 7.0), mask), painted)


def test_seen_pixels_have_no_part_in_the_loss() -> None:
    method, views, masks = small(), random_views(1, 3, 16), uneven_masks(3)
    painted: list[torch.Tensor] = []
    method.head.register_forward_hook(lambda module, given, made: (made.retain_grad(), painted.append(made))[0])
    method(batch_of(views, masks))["loss"].backward()
    gradient = painted[0].grad
    assert gradient is not None  # (N, 48, 4, 4), a token's pixels among the channels
    assert torch.equal((gradient != 0).any(1), torch.from_numpy(masks[0]))


def test_a_swin_sees_the_mask_vector_behind_its_patches_and_is_else_timms() -> None:
    method, images = small(32, **SWIN).eval(), random_views(1, 2, 32)[0]
    with torch.no_grad():
        torch.testing.assert_close(method.features(images), method.encoder(images))
        # All patches hidden: whatever the image, what comes out is that of a map of mask vectors.
        mask = torch.ones(2, 256, dtype=torch.bool)
        whole = method.encoder.norm(method.encoder.layers(method.mask_token.expand(2, 16, 16, -1)))
        torch.testing.assert_close(method.tokens(images, mask), whole.flatten(1, 2))
    assert method.tokens(images).shape == (2, 4, 192) and method.stride == 16  # 16, 8, 4 and 2 patches a side


def test_an_error_of_1_is_what_knowing_the_mean_colour_comes_to() -> None:
    method, views, masks = small(), random_views(1, 5, 16) + torch.tensor([1.0, 0.0, -2.0])[:, None, None], uneven_masks(5)
    hidden = torch.from_numpy(masks[0].repeat(4, 1).repeat(4, 2))
    colour = torch.stack([views[0, :, c][hidden].mean() for c in range(3)])
    with torch.no_grad():
        method.head.weight.zero_()
        method.head.bias.copy_(colour.repeat_interleave(16))
    assert float(method(batch_of(views, masks))["error"]) == pytest.approx(1.0, abs=1e-5)


def test_the_gradient_is_that_of_finite_differences() -> None:
    batch = batch_of(random_views(1, 3, 16).double(), uneven_masks(3))
    assert_mask_gradient(small().double(), batch, step=1e-6, rel=1e-3)


def step_batch(step: int, which: slice) -> Batch:
    return batch_of(random_views(1, 11, 16, step)[:, which], uneven_masks(11, step)[:, which])


def two_steps(images: int) -> Told:
    return steps_of(small(), step_batch, images)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_with_different_numbers_of_hidden_patches_are_the_parts_of_one_process(world: World, ranks: int) -> None:
    assert_alike(two_steps(11), world(ranks, two_steps, 11), first=1)


@pytest.mark.parametrize(("fields", "rate"), [({"depth": 3}, 5e-3), ({**SWIN, "patch_px": 2, "embed_dim": 24}, 3e-3)])
def test_it_learns_to_paint_what_is_around(fields: dict[str, object], rate: float) -> None:
    side = 32 if "window" in fields else 16
    method = small(side, **fields)
    ramp = torch.linspace(-1, 1, side)
    views = torch.stack([(a * ramp[:, None] + b * ramp).expand(3, -1, -1) + c for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    optimizer = build_optimizer(method, replace(SGD, name="adamw", weight_decay=0.0))
    errors = []
    for step in range(60):
        values = method(batch_of(views[None], random_masks(1, 8, *method.grid, method.grid[0] ** 2 * 2 // 5, step)))
        learn(method, optimizer, values["loss"], rate, 5.0, 0.5)
        errors.append(float(values["error"]))
    assert errors[0] > 0.9 and np.mean(errors[-5:]) < 0.75  # 1 is the mean colour


def test_pictures_show_what_is_seen_what_is_painted_and_what_was_there() -> None:
    method = small(32).eval()
    rng = np.random.default_rng(0)
    levels = torch.from_numpy(rng.integers(0, 256, (3, 3, 32, 32)).astype(np.float32))
    mean, std = (torch.tensor(of)[:, None, None] for of in (IMAGENET_MEAN, IMAGENET_STD))
    masks = random_masks(1, 3, 8, 8, 24)
    batch = batch_of(((levels / 255 - mean) / std)[None], masks)
    with torch.no_grad():
        columns = method.pictures(Shown(batch, presets.recipe("simmim_cifar")))
        painted = method.paint(batch.views["global"][0], torch.from_numpy(masks[0]).flatten(1))
    assert list(columns) == ["masked", "reconstruction", "original"]
    hidden = torch.from_numpy(masks[0].repeat(4, 1).repeat(4, 2))[:, None].expand(-1, 3, -1, -1)
    torch.testing.assert_close(columns["original"], levels / 255)
    assert (columns["masked"][hidden] == 0.5).all()
    for title in ("masked", "reconstruction"):
        torch.testing.assert_close(columns[title][~hidden], (levels / 255)[~hidden])
    torch.testing.assert_close(columns["reconstruction"][hidden], (painted * std + mean).clamp(0, 1)[hidden])


@pytest.mark.parametrize(("fields", "side_px", "message"), [
    ({"window": 4}, 16, "model.window=4 is for a Swin, and backbone 'vit_tiny_patch16_224' is none; leave it out"),
    ({**SWIN, "layer_scale": 0.1}, 32, "model.layer_scale=0.1 is for a plain vision transformer.*use model.layer_scale=null"),
    ({**SWIN, "positions": "absolute"}, 32, "model.positions=absolute is for a plain.*use model.positions=relative"),
    ({**SWIN, "depth": 4}, 32, "model.depth=4 is for a plain vision transformer.*use model.depth=null"),
    ({**SWIN, "pooling": "cls"}, 32, "has no class token; use model.pooling=mean"),
    (SWIN, 24, "each token of the last map of backbone 'swin_tiny_patch4_window7_224' paints 16 px; use 16 px"),
    ({"window": 0}, 16, "model.window needs a whole number of at least 1, got 0"),
])
def test_what_cannot_be_is_refused(fields: dict[str, object], side_px: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(side_px, **fields)


def test_batches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"masks of 8 x 8 patches do not fit a backbone of 4 x 4 patches of 4 px"):
        small()(batch_of(random_views(1, 2, 16), random_masks(1, 2, 8, 8, 9)))
    with pytest.raises(ValueError, match="no patch of this step is masked"):
        small()(batch_of(random_views(1, 2, 16), np.zeros((1, 2, 4, 4), bool)))


@pytest.mark.parametrize(("fields", "side_px"), [({}, 16), (SWIN, 32)])
def test_in_half_precision_the_loss_is_a_full_precision_number(fields: dict[str, object], side_px: int) -> None:
    method = small(side_px, **fields)
    batch = batch_of(random_views(1, 3, side_px), random_masks(1, 3, *method.grid, 5))
    with torch.autocast("cpu", torch.bfloat16):
        values = method(batch)
    values["loss"].backward()
    assert all(value.dtype == torch.float32 and value.isfinite() for value in values.values())
    assert float(values["loss"].detach()) == pytest.approx(float(method(batch)["loss"].detach()), rel=0.02)
