"""MILAN: what the teacher's attention lets in, what the decoder sees and moves, what is told, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from viewmill.augment.masks import Attention, RandomExact
from viewmill.augment.presets.preset import IMAGENET, bicubic_crop
from viewmill.augment.recipe import Recipe, View
from viewmill.models import method_info
from viewmill.models.mae import orders
from viewmill.models.milan import MILAN, MILANConfig
from viewmill.models.pictured import Shown
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn
from viewmill.pipelines.batch import Batch

from ..world import World
from .batches import handed_batch, random_masks
from .flops import multiply_adds
from .ranks import SGD, Told, assert_alike, steps_of
from .teaching import write_run

TINY = {"backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 32, "depth": 2, "heads": 2, "decoder_dim": 16,
        "decoder_depth": 2, "decoder_heads": 2, "teacher": "own"}
RECIPE = Recipe(name="small", views=(View(group="global", size_px=16, ops=(
    bicubic_crop(16, (0.2, 1.0)), IMAGENET, Attention(grid=(4, 4), visible=4, ratio=0.75))),))
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 20, 26, 3), dtype=np.uint8)


def tiny(image_px: int = 16, **fields: object) -> MILAN:
    torch.manual_seed(0)
    return MILAN(MILANConfig(**{**TINY, **fields}), image_px=image_px)  # type: ignore[arg-type]


def batch(rows: slice = slice(3), seed: int = 0, recipe: Recipe = RECIPE) -> Batch:
    return handed_batch(recipe, IMAGES, (), rows, seed=seed)


def a_mask(images: int = 3) -> torch.Tensor:
    return torch.from_numpy(random_masks(1, images, 4, 4, 4)[0]).flatten(1)


def test_the_published_network_and_what_it_costs() -> None:
    with torch.device("meta"):
        method = MILAN(method_info("milan").config(), image_px=224)
    assert method.grid == (14, 14) and method.decoder_predict.out_features == 512 and len(method.decoder_blocks) == 8
    d, t = 512, 512
    block = 4 * (d * d + d) + 8 * d * d + 5 * d + 4 * d  # projections, perceptron, two norms
    decoder = 768 * d + d + d + 8 * block + 2 * d + d * t + t
    assert sum(p.numel() for p in method.encoder.parameters()) == 85_798_656
    assert sum(p.numel() for p in method.parameters()) == 85_798_656 + decoder
    # 12 N D^2 + 2 N^2 D a block, and the patches' projection; the decoder's queries are 147 of 197 tokens.
    images, mask = torch.zeros(1, 3, 224, 224, device="meta"), torch.zeros(1, 196, dtype=torch.bool)
    mask[:, 49:] = True
    visible, restore = (each.to("meta") for each in orders(mask))
    encoder = 12 * (12 * 50 * 768**2 + 2 * 50**2 * 768) + 196 * 768**2
    assert encoder == pytest.approx(4.4e9, rel=0.01)
    assert multiply_adds(method.encode, images, visible) == pytest.approx(encoder, rel=0.01)
    blocks = 8 * (147 * 2 * d * d + 197 * 2 * d * d + 2 * 147 * 197 * d + 8 * 147 * d * d)
    assert blocks == pytest.approx(4.1e9, rel=0.015)
    tokens = torch.zeros(1, 50, 768, device="meta")
    assert multiply_adds(method.decode, tokens, restore) == pytest.approx(blocks + 50 * 768 * d + 197 * d * t, rel=0.01)


def test_what_stays_is_drawn_by_the_teachers_attention() -> None:
    method, given = tiny(), batch()
    with torch.no_grad():
        weights = method.teacher(given.views["global"][0], (4, 4), attention=True).attention.double().numpy()
    keys = np.log(weights) + given.drawn("global", "gumbel")[0].double().numpy()
    seen = torch.ones(3, 16, dtype=torch.bool)
    for row, places in enumerate(np.argsort(-keys, axis=1)[:, :4]):
        seen[row, places] = False
    assert torch.equal(method._taught(given)[1], seen)
    values = method(given)
    share = np.mean([weights[n, ~seen[n].numpy()].sum() / weights[n].sum() for n in range(3)])
    assert float(values["seen_attention"]) == pytest.approx(share, rel=1e-5)


def test_the_teacher_is_asked_where_it_looks_and_the_recipe_how_many_stay() -> None:
    for visible in (1, 7):
        given = batch(recipe=RECIPE.with_op("*", "masks", visible=visible))
        assert (~tiny()._taught(given)[1]).sum(1).tolist() == [visible] * 3


def test_other_masks_are_the_recipes() -> None:
    recipe = Recipe(name="random", views=(View(group="global", size_px=16, ops=(
        bicubic_crop(16), IMAGENET, RandomExact(grid=(4, 4), visible=5, ratio=0.7))),))
    given = batch(recipe=recipe)
    assert torch.equal(tiny()._taught(given)[1], given.masks("global")[0].flatten(1))


def test_the_encoder_is_given_visible_patches_and_prompts_go_through_no_block() -> None:
    method, lengths, masked, prompts = tiny(), [], [], []
    for block in method.encoder.blocks:
        block.register_forward_hook(lambda module, given, made: lengths.append(given[0].shape[1]))
    for block in method.decoder_blocks:
        block.register_forward_hook(lambda module, given, made: masked.append(given[0].shape))
        block.register_forward_hook(lambda module, given, made: prompts.append(given[1]))
    method(batch())
    assert lengths == [5, 5] and masked == [(3, 12, 16)] * 2
    assert prompts[0].shape == (3, 5, 16) and torch.equal(prompts[0], prompts[1])


def dense(method: MILAN, tokens: torch.Tensor, mask: np.ndarray) -> torch.Tensor:
    """The decoder on the whole grid of one image, tokens (1 + K, D) float64, row by row of the image."""
    method = method.double()
    embedded, places = method.decoder_embed(tokens), method.decoder_positions[0]
    seen = iter(embedded[1:])
    whole = torch.stack([embedded[0], *(method.mask_token[0, 0] if hidden else next(seen) for hidden in mask)]) + places.double()
    moving = torch.tensor([False, *mask])
    for block in method.decoder_blocks:
        looked_at = torch.where(moving[:, None], block.norm1(whole), whole)
        attn, rows = block.attn, []
        for row in torch.nonzero(moving)[:, 0]:
            heads = []
            for own in (slice(0, 8), slice(8, 16)):
                q = attn.q(block.norm1(whole[row]))[own]
                scores = (attn.k(looked_at)[:, own] @ q / 8**0.5).softmax(0)
                heads.append(scores @ attn.v(looked_at)[:, own])
            rows.append(attn.proj(torch.cat(heads)))
        whole = whole.clone()
        whole[moving] = whole[moving] + torch.stack(rows)
        whole[moving] = whole[moving] + block.mlp(block.norm2(whole[moving]))
    return method.decoder_predict(method.decoder_norm(whole))


def test_the_decoder_moves_masked_tokens_alone_in_the_images_order() -> None:
    method, mask = tiny(), a_mask()
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        tokens = torch.randn(3, 5, 32)
        told = method.decode(tokens, orders(mask)[1])
        for row in range(3):
            expected = dense(method, tokens[row].double(), mask[row].numpy())
            torch.testing.assert_close(told[row].double(), expected, rtol=1e-4, atol=1e-4)


def test_the_loss_is_the_distance_of_directions_over_all_tokens() -> None:
    method, given = tiny(), batch()
    values = method(given)
    with torch.no_grad():
        taught, mask = method._taught(given)
        told = method.tell(given.views["global"][0], mask).double().numpy()
        target = torch.cat([taught.cls[:, None], taught.patches], 1).double().numpy()
    apart = 2 - 2 * (told * target).sum(-1) / np.linalg.norm(told, axis=-1) / np.linalg.norm(target, axis=-1)
    assert apart.shape == (3, 17) and float(values["loss"].detach()) == pytest.approx(apart.mean(), rel=1e-5)
    assert float(values["masked"]) == pytest.approx(apart[:, 1:][mask.numpy()].mean(), rel=1e-5)


def test_every_token_has_a_gradient_and_every_weight() -> None:
    method, told = tiny(), []
    method.decoder_predict.register_forward_hook(lambda module, given, made: made.retain_grad())
    method.decoder_predict.register_forward_hook(lambda module, given, made: told.append(made))
    method(batch())["loss"].backward()
    assert told[0].grad.shape == (3, 17, 32) and (told[0].grad.abs().sum(2) > 0).all()
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []


def test_masked_pixels_change_nothing_that_is_told() -> None:
    method, images, mask = tiny().eval(), torch.randn(3, 3, 16, 16), a_mask()
    hidden = mask.unflatten(1, (4, 4)).repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None]
    assert torch.equal(method.tell(torch.where(hidden, 7.0, images), mask), method.tell(images, mask))
    assert not torch.allclose(method.tell(torch.where(hidden, images, 7.0), mask), method.tell(images, mask))


def test_first_weights_are_the_authors() -> None:
    method = tiny(embed_dim=64, decoder_dim=64)
    bounds = {name: (6 / ((3 if name.endswith((".attn.k.weight", ".attn.v.weight")) and "decoder" in name else 2) * 64)) ** 0.5
              for name, p in method.named_parameters() if "decoder" in name and p.shape == (64, 64) and p.requires_grad}
    assert len(bounds) == 2 * 4 + 2
    for name, bound in bounds.items():
        assert 0.95 * bound < float(method.get_parameter(name).detach().abs().max()) <= bound * (1 + 1e-6), name
    assert float(method.encoder.cls_token.detach().std()) == pytest.approx(0.02, rel=0.4)
    assert not method.encoder.pos_embed.requires_grad and "decoder_positions" not in method.state_dict()


def step_batch(step: int, which: slice) -> Batch:
    return batch(which, step)


def two_steps(images: int) -> Told:
    return steps_of(tiny(teacher_momentum=0.5), step_batch, images)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_are_the_parts_of_one_process_their_moving_averages_too(world: World, ranks: int) -> None:
    assert_alike(two_steps(12), world(ranks, two_steps, 12))


def test_it_learns_what_a_frozen_teacher_says(tmp_path: Path) -> None:
    write_run(tmp_path, image_px=16, embed_dim=32, heads=2)
    method, losses = tiny(teacher=str(tmp_path)), []
    optimizer = build_optimizer(method, replace(SGD, name="adamw", weight_decay=0.0))
    for step in range(60):
        values = method(batch(slice(12), step))
        learn(method, optimizer, values["loss"], 3e-3, None, 0.5)
        losses.append(float(values["loss"].detach()))
    assert losses[0] > 1.5 and np.mean(losses[-5:]) < 0.5 * losses[0]
    assert not any("teacher" in name for name in method.state_dict())


def test_features_see_all_patches() -> None:
    images = torch.randn(3, 3, 16, 16)
    for pooling, pick in (("cls", lambda t: t[:, 0]), ("mean", lambda t: t[:, 1:].mean(1))):
        method = tiny(pooling=pooling).eval()
        torch.testing.assert_close(method.features(images), pick(method.encoder.forward_features(images)))


def test_pictures_show_where_the_teacher_looks_what_is_seen_and_how_well_it_is_told() -> None:
    method, given = tiny().eval(), batch()
    with torch.no_grad():
        columns = method.pictures(Shown(given, RECIPE))
        taught, mask = method._taught(given)
    assert list(columns) == ["attention", "seen", "told", "original"]
    assert all(column.shape == (3, 3, 16, 16) for column in columns.values())
    assert torch.equal((columns["seen"] == 0.5).all(1)[:, ::4, ::4].flatten(1), mask)
    shares = taught.attention.double()
    shown = columns["attention"][:, 0, ::4, ::4].flatten(1).double()
    torch.testing.assert_close(shown, shares / shares.max(1, keepdim=True).values)


@pytest.mark.parametrize(("fields", "message"), [
    ({"decoder_dim": 10}, "model.decoder_dim needs to be a multiple of 4 and of model.decoder_heads=2, got 10"),
    ({"backbone": "vit_small_patch14_reg4_dinov2"}, "needs a class token, no registers, and a norm before it pools"),
    ({"teacher_momentum": 1.5}, r"model.teacher_momentum needs a number in \[0, 1\], got 1.5"),
    ({"target_dim": 8}, "teacher own has tokens of width 32, and model.target_dim is 8"),
])
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**fields)


def test_what_does_not_fit_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs model.teacher=PATH"):
        tiny(teacher=None).before_step(0.0)
    recipe = Recipe(name="random", views=(View(group="global", size_px=16, ops=(
        bicubic_crop(16), IMAGENET, RandomExact(grid=(2, 2), visible=1, ratio=0.75))),))
    with pytest.raises(ValueError, match=r"masks of 2 x 2 patches do not fit a backbone of 4 x 4 patches; set model.patch_px"):
        tiny()(batch(recipe=recipe))
