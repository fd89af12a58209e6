"""I-JEPA: what the context encoder is given, what the predictor is asked for block by block, what the target encoder says, how it
follows, with lists cut and whole, on ranks too, and that it learns."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import viewmill as vm
from torch import nn
from viewmill.models import method_info
from viewmill.models.ijepa import IJEPA, IJEPAConfig
from viewmill.models.patch_lists import PatchLists
from viewmill.models.pictured import Shown
from viewmill.models.positions import sincos_2d
from viewmill.models.token_pictures import in_colours
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn
from viewmill.pipelines.batch import Batch

from ..world import World
from .batches import batch_of, random_views
from .ranks import SGD, Told, assert_alike, steps_of

TINY = {"backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 32, "depth": 2, "heads": 2, "predictor_dim": 16,
        "predictor_depth": 2}


def small(image_px: int = 16, **fields: object) -> IJEPA:
    torch.manual_seed(0)
    return IJEPA(IJEPAConfig(**{**TINY, **fields}), image_px=image_px)  # type: ignore[arg-type]


def blocks_of(images: int, *, like: bool, seed: int = 0, side: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """(images, side, side) of what a context does not show, and (images, 2, side, side) of two blocks. like: contexts of 6
    patches and blocks of 3; else contexts of 4 to 8, blocks of 1 to 3."""
    rng = np.random.default_rng(seed)
    order = rng.random((images, 1 + 2, side * side)).argsort(-1).argsort(-1)
    counts = np.array([6, 3, 3]) if like else rng.integers([4, 1, 1], [9, 4, 4], (images, 3))
    chosen = (order < counts[..., None]).reshape(images, 3, side, side)
    return ~chosen[:, 0], chosen[:, 1:]


def batch_with(views: torch.Tensor, mask: np.ndarray, blocks: np.ndarray) -> Batch:
    """views (V, B, ...), mask (V * B, ...), blocks (V * B, T, ...)."""
    made, count = batch_of(views), views.shape[1]
    made.params = {f"global/{i}": {"masks": {"mask": mask[i * count :][:count], "targets": blocks[i * count :][:count]}}
                   for i in range(len(views))}
    return made


def normed(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def by_hand(method: IJEPA, images: torch.Tensor, mask: np.ndarray, blocks: np.ndarray, cut: bool) -> list[np.ndarray]:
    """Distances of all values of all patches of all blocks: image by image and block by block, by timm's own networks on lists of
    that image's own length, with nothing filled up and nothing repeated."""
    seen, wanted = ~mask.reshape(len(mask), -1), blocks.reshape(*blocks.shape[:2], -1)
    shortest = (seen.sum(-1).min(), wanted.sum(-1).min()) if cut else (None, None)
    vit, table, found = method.context_encoder, sincos_2d(*method.grid, method.config.predictor_dim), []
    table = table.to(images.dtype)
    with torch.no_grad():
        whole = method.target_encoder.forward_features(images).double().numpy()
        for n in range(len(images)):
            there = torch.from_numpy(np.flatnonzero(seen[n])[: shortest[0]])
            x = vit.norm(vit.blocks((vit.patch_embed(images[n : n + 1]) + vit.pos_embed)[:, there]))
            known = method.predictor_embed(x) + table[there]
            for block in wanted[n]:
                asked = torch.from_numpy(np.flatnonzero(block)[: shortest[1]])
                z = torch.cat([known, (method.mask_token + table[asked])], 1)
                told = method.predictor_project(method.predictor_norm(method.predictor_blocks(z)))[0, len(there) :]
                found.append(told.double().numpy() - normed(whole[n])[asked.numpy()])
    return found


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("like", [True, False])
def test_the_loss_is_smooth_l1_of_each_block_by_itself(cut: bool, like: bool) -> None:
    method, views = small(cut=cut).eval(), random_views(2, 3, 16)
    with torch.no_grad():  # the first weights are small, norms without effect, and both encoders the same
        for name, parameter in method.named_parameters():
            parameter += 0.15 * torch.randn(parameter.shape) * ("pos_embed" not in name)
    mask, blocks = blocks_of(6, like=like)
    values = method(batch_with(views, mask, blocks))
    apart = np.abs(np.concatenate(by_hand(method, views.flatten(0, 1), mask, blocks, cut)))
    expected = np.where(apart < 1, apart**2 / 2, apart - 0.5)
    assert len(apart) == (36 if like else 12 if cut else blocks.sum()) and (apart < 1).any() and (apart > 1).any()
    assert float(values["loss"].detach()) == pytest.approx(expected.mean(), rel=1e-4)
    patches = (~mask).sum((1, 2))
    assert float(values["context"]) == pytest.approx(patches.min() if cut else patches.mean())


def test_the_published_networks() -> None:
    info = method_info("ijepa")
    with torch.device("meta"):
        huge = IJEPA(info.config(), image_px=224)
        base = IJEPA(info.config(**info.variants["vit_b16"].fields), image_px=224)
        giant = IJEPA(info.config(**info.variants["vit_g16_22k"].fields), image_px=224)

    def counts(method: IJEPA) -> list[int]:
        predictor = (method.predictor_embed, method.predictor_blocks, method.predictor_norm, method.predictor_project)
        return [sum(p.numel() for p in method.context_encoder.parameters()),
                sum(p.numel() for part in predictor for p in part.parameters()) + method.mask_token.numel()]

    # A block of width D: 12 D * D + 13 D. Of ViT-B/16, without class token: 85,798,656 less that and its position.
    of_block = lambda dim: 12 * dim**2 + 13 * dim  # noqa: E731
    assert counts(base) == [85_798_656 - 2 * 768, 768 * 384 + 384 + 12 * of_block(384) + 2 * 384 + 384 * 768 + 768 + 384]
    assert counts(huge) == [14 * 14 * 3 * 1280 + 1280 + 256 * 1280 + 32 * of_block(1280) + 2 * 1280,
                            1280 * 384 + 384 + 12 * of_block(384) + 2 * 384 + 384 * 1280 + 1280 + 384]
    assert counts(giant)[1] == 1408 * 384 + 384 + 16 * of_block(384) + 2 * 384 + 384 * 1408 + 1408 + 384
    assert [len(net.context_encoder.blocks) for net in (base, huge, giant)] == [12, 32, 40]
    assert [net.predictor_blocks[0].attn.num_heads for net in (base, huge, giant)] == [12, 16, 16]
    assert (huge.grid, base.grid, huge.predictor_norm.eps, huge.context_encoder.norm.eps) == ((16, 16), (14, 14), 1e-6, 1e-6)


def test_first_weights_are_the_published_ones() -> None:
    method = small(embed_dim=64, predictor_dim=64)
    for module in method.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.1)  # no block's is scaled down
            assert module.bias is not None and float(module.bias.detach().abs().max()) == 0
    assert float(method.mask_token.detach().std()) == pytest.approx(0.02, rel=0.4)
    torch.testing.assert_close(method.context_encoder.pos_embed[0].detach(), sincos_2d(4, 4, 64))
    assert not method.context_encoder.pos_embed.requires_grad and "predictor_positions" not in method.state_dict()
    for name, value in method.context_encoder.state_dict().items():
        assert torch.equal(method.target_encoder.state_dict()[name], value)


def test_the_context_encoder_is_given_the_contexts_patches_only() -> None:
    method, views = small(), random_views(1, 3, 16)
    lengths: dict[str, list[int]] = {"context": [], "predictor": [], "target": []}
    for name, part in (("context", method.context_encoder.blocks), ("predictor", method.predictor_blocks),
                       ("target", method.target_encoder.blocks)):
        part[0].register_forward_hook(lambda module, given, made, name=name: lengths[name].append(tuple(given[0].shape[:2])))
    method(batch_with(views, *blocks_of(3, like=True)))
    assert lengths == {"context": [(3, 6)], "predictor": [(3 * 2, 6 + 3)], "target": [(3, 16)]}


@pytest.mark.parametrize("cut", [True, False])
def test_pixels_outside_the_context_change_nothing_that_is_predicted(cut: bool) -> None:
    method, images = small(cut=cut).eval(), random_views(1, 4, 16)[0]
    mask, blocks = blocks_of(4, like=False)
    context, asked = method.lists(batch_with(images[None], mask, blocks))
    hidden = torch.from_numpy(mask.repeat(4, 1).repeat(4, 2))[:, None]

    def predicted(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return asked.rows(method.predict(method.encode(images, context), context, asked))

    assert torch.equal(predicted(torch.where(hidden, 7.0, images)), predicted(images))
    assert not torch.allclose(predicted(torch.where(hidden, images, 7.0)), predicted(images))
    assert not torch.allclose(method.targets(torch.where(hidden, 7.0, images)), method.targets(images))


def test_without_the_cut_images_do_not_depend_on_each_other() -> None:
    method, views = small(cut=False).eval(), random_views(1, 4, 16)
    mask, blocks = blocks_of(4, like=False)
    with torch.no_grad():
        alone = [float(method(batch_with(views[:, n : n + 1], mask[n : n + 1], blocks[n : n + 1]))["loss"]) for n in range(4)]
        together = float(method(batch_with(views, mask, blocks))["loss"])
    assert together == pytest.approx(np.average(alone, weights=blocks.sum((1, 2, 3))), rel=1e-5)


def test_targets_are_the_whole_images_tokens_of_mean_0_and_variance_1() -> None:
    method, images = small(), random_views(1, 3, 16)[0]
    with torch.no_grad():
        method.target_encoder.norm.weight.uniform_(0.5, 2.0)
        method.target_encoder.norm.bias.normal_()
        tokens = method.target_encoder.forward_features(images)
    targets = method.targets(images)
    np.testing.assert_allclose(targets.double().numpy(), normed(tokens.double().numpy()), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(targets.mean(-1), torch.zeros(3, 16), atol=1e-5, rtol=0)
    torch.testing.assert_close(targets.var(-1, unbiased=False), torch.ones(3, 16), atol=1e-2, rtol=0)


def test_a_block_is_asked_for_by_position_and_knows_no_other_block() -> None:
    method = small().eval()
    context = PatchLists(torch.tensor([[0, 1, 5]]), None)
    seen = torch.randn(1, 3, 32)

    def told(*blocks: list[int]) -> torch.Tensor:
        with torch.no_grad():
            return method.predict(seen, context, PatchLists(torch.tensor([blocks]), None))[0]

    torch.testing.assert_close(told([9, 10], [14, 15])[0], told([9, 10], [2, 3])[0])
    torch.testing.assert_close(told([10, 9])[0].flip(0), told([9, 10])[0])
    assert not torch.allclose(told([9, 10])[0], told([9, 11])[0])


def test_what_learns_and_what_follows() -> None:
    method = small(teacher_momentum=0.5)
    method(batch_with(random_views(1, 3, 16), *blocks_of(3, like=True)))["loss"].backward()
    assert all(p.grad is None and not p.requires_grad for p in method.target_encoder.parameters())
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []
    first = copy.deepcopy(dict(method.target_encoder.named_parameters()))
    with torch.no_grad():
        for name, parameter in method.context_encoder.named_parameters():
            parameter += name != "pos_embed"
    # The momentum rises linearly: 0.5 + 0.5 * progress. A quarter of the way 0.625, so 0.375 of the way there; then a half of the
    # rest at 0.75; at the end nothing.
    for progress, moved in ((0.25, 0.375), (0.5, 0.375 + 0.25 * 0.625), (1.0, 0.375 + 0.25 * 0.625)):
        method.after_step(progress)
        for name, parameter in method.target_encoder.named_parameters():
            torch.testing.assert_close(parameter, first[name] + (moved if name != "pos_embed" else 0))


def test_the_target_encoder_is_judged_by_the_mean_of_its_patches() -> None:
    method, images = small().eval(), random_views(1, 3, 16)[0]
    with torch.no_grad():
        for parameter in method.target_encoder.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
        assert method.encoder is method.target_encoder
        torch.testing.assert_close(method.features(images), method.encoder.forward_features(images).mean(1))
        torch.testing.assert_close(method.features(images), method.encoder(images))
    assert method.features(images).shape == (3, method.feature_dim)


def test_an_error_of_1_is_what_knowing_the_mean_comes_to() -> None:
    method, views = small(), random_views(1, 4, 16)
    mask, blocks = blocks_of(4, like=True)
    _, asked = method.lists(batch_with(views, mask, blocks))
    with torch.no_grad():
        method.predictor_project.weight.zero_()
        rows = torch.cat([method.targets(views[0])[n, asked.index[n].flatten()] for n in range(4)])
        method.predictor_project.bias.copy_(rows.mean(0))
    values = method(batch_with(views, mask, blocks))
    assert float(values["error"]) == pytest.approx(1.0, abs=1e-5)
    assert float(values["target_variance"]) == pytest.approx(float(rows.var(0, unbiased=False).mean()), rel=1e-4)


@pytest.mark.parametrize("cut", [True, False])
def test_the_gradient_is_that_of_finite_differences(cut: bool) -> None:
    method, batch = small(cut=cut).double(), batch_with(random_views(1, 3, 16).double(), *blocks_of(3, like=False))
    method(batch)["loss"].backward()
    gradient, step = method.context_encoder.blocks[0].attn.proj.bias.grad, 1e-5
    assert gradient is not None
    for place in (0, 7):
        found = []
        for sign in (1, -1):
            moved = copy.deepcopy(method)
            with torch.no_grad():
                moved.context_encoder.blocks[0].attn.proj.bias[place] += sign * step
                found.append(float(moved(batch)["loss"]))
        assert float(gradient[place]) == pytest.approx((found[0] - found[1]) / (2 * step), rel=1e-4)


def step_batch(step: int, which: slice, like: bool) -> Batch:
    mask, blocks = blocks_of(11, like=like, seed=step)
    return batch_with(random_views(1, 11, 16, step)[:, which], mask[which], blocks[which])


def two_steps(images: int, cut: bool) -> Told:
    return steps_of(small(cut=cut, teacher_momentum=0.5), lambda step, which: step_batch(step, which, like=cut), images)


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("cut", [True, False])
def test_ranks_are_the_parts_of_one_process(world: World, ranks: int, cut: bool) -> None:
    """Cut, where all lists are of one length; whole, whatever their lengths."""
    assert_alike(two_steps(11, cut), world(ranks, two_steps, 11, cut), first=1)


def test_it_takes_what_the_recipe_draws() -> None:
    recipe, images = vm.recipe("ijepa_cifar"), 16
    drawn = vm.draw(recipe, 0, 0, np.arange(images), np.full((images, 2), 32), position=np.arange(images), length=images)
    batch = batch_of(random_views(1, images, 32))
    batch.params = drawn
    method = small(32, cut=False)
    context, blocks = method.lists(batch)
    assert method.grid == (8, 8) and context.index.shape[0] == images and blocks.index.shape[:2] == (images, 4)
    seen, asked = ~batch.masks("global")[0].flatten(1), batch.drawn("global", "targets")[0].flatten(2)
    assert not (seen[:, None] & asked).any() and context.all_real().sum() == seen.sum()
    assert method(batch)["loss"].isfinite() and small(32)(batch)["loss"].isfinite()


def test_it_learns_what_lies_in_blocks_from_the_context() -> None:
    # Stripes of one direction each: what lies in a block is known from the context.
    method = small(teacher_momentum=0.99)
    along = torch.arange(16.0)
    views = torch.stack([torch.sin(along[:, None] * slope + along[None]).expand(3, -1, -1)
                         for slope in torch.linspace(-2, 2, 32)])
    optimizer = build_optimizer(method, replace(SGD, name="adamw", weight_decay=0.0))
    errors, variance = [], 0.0
    for step in range(100):
        values = method(batch_with(views[None], *blocks_of(32, like=True, seed=step)))
        learn(method, optimizer, values["loss"], 3e-3, None, 0.5)
        errors.append(float(values["error"]))
        variance = float(values["target_variance"])
    assert errors[0] > 0.9 and np.mean(errors[-10:]) < 0.7 and variance > 0.05


@pytest.mark.parametrize(("fields", "message"), [
    ({"backbone": "resnet18"}, "backbone 'resnet18' takes no patch_px"),
    ({"predictor_dim": 18}, "model.predictor_dim needs to be a multiple of 4, got 18"),
    ({"predictor_heads": 3}, "model.predictor_dim=16 needs to be a multiple of its attention heads, 3; use model.predictor_h"),
    ({"embed_dim": 30, "heads": 3, "predictor_heads": 2}, "sin-cos positions need a width that 4 divides"),
    ({"teacher_momentum": 2.0}, r"model.teacher_momentum needs a number in \[0, 1\], got 2.0"),
    ({"beta": 0.0}, "model.beta needs a number above 0, got 0.0"),
])
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**fields)


def test_batches_that_do_not_fit_are_refused() -> None:
    views = random_views(1, 2, 16)
    with pytest.raises(ValueError, match=r"masks of 8 x 8 patches do not fit a backbone of 4 x 4 patches of 4 px; set model\."):
        small()(batch_with(views, *blocks_of(2, like=True, side=8)))
    with pytest.raises(ValueError, match="the recipe draws no targets for group 'global'"):
        small()(batch_of(views, blocks_of(2, like=True)[0][None]))
    mask, blocks = blocks_of(2, like=True)
    with pytest.raises(ValueError, match="every context needs at least one patch"):
        small()(batch_with(views, np.ones_like(mask), blocks))
    with pytest.raises(ValueError, match="every block needs at least one patch"):
        small()(batch_with(views, mask, blocks & (np.arange(2) == 0)[:, None, None]))


@pytest.mark.parametrize("cut", [True, False])
def test_pictures_show_the_context_what_is_told_of_blocks_and_the_target(cut: bool) -> None:
    method, views = small(32, cut=cut).eval(), random_views(1, 3, 32)
    mask, blocks = blocks_of(3, like=False, side=8)
    batch = batch_with(views, mask, blocks)
    with torch.no_grad():
        columns = method.pictures(Shown(batch, vm.recipe("ijepa_cifar")))
        context, asked = method.lists(batch)
        colours, told = in_colours(method.targets(views[0]), method.predict(method.encode(views[0], context), context, asked))
    assert list(columns) == ["context", "told", "target", "original"]
    seen = context.mask(64)
    for n, place in np.ndindex(3, 64):
        patch = (n, slice(None), slice(place // 8 * 4, place // 8 * 4 + 4), slice(place % 8 * 4, place % 8 * 4 + 4))
        original, gray = columns["original"][patch], torch.full((3, 4, 4), 0.5)
        assert torch.equal(columns["context"][patch], original if seen[n, place] else gray)
        torch.testing.assert_close(columns["target"][patch], colours[n, place, :, None, None].expand(3, 4, 4))
        expected = gray
        for block in range(2):
            for index, real, value in zip(asked.index[n, block], asked.all_real()[n, block], told[n, block], strict=True):
                expected = value[:, None, None].expand(3, 4, 4) if real and index == place else expected
        torch.testing.assert_close(columns["told"][patch], expected)


@pytest.mark.parametrize("cut", [True, False])
def test_in_half_precision_the_loss_is_a_full_precision_number(cut: bool) -> None:
    method, batch = small(cut=cut), batch_with(random_views(1, 3, 16), *blocks_of(3, like=False))
    with torch.autocast("cpu", torch.bfloat16):
        values = method(batch)
    values["loss"].backward()
    assert all(value.dtype == torch.float32 and value.isfinite() for value in values.values())
    assert float(values["loss"].detach()) == pytest.approx(float(method(batch)["loss"].detach()), rel=0.05)
