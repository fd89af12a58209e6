"""MAE: what the encoder sees, where each patch lands, what is judged, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from viewmill.augment import presets
from viewmill.augment.ops.normalize import IMAGENET_MEAN, IMAGENET_STD
from viewmill.losses.mae import normalize_patches, patchify
from viewmill.models.mae import MAE, MAEConfig, orders
from viewmill.models.pictured import Shown

from .batches import batch_of, random_masks, random_views

TINY = {"backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 32, "depth": 2, "heads": 2, "decoder_dim": 16,
        "decoder_depth": 1, "decoder_heads": 2}


def tiny(image_px: int = 16, **fields: object) -> MAE:
    torch.manual_seed(0)
    return MAE(MAEConfig(**{**TINY, **fields}), image_px=image_px)  # type: ignore[arg-type]


def test_published_network() -> None:
    config = MAEConfig()
    assert config.backbone == "vit_base_patch16_224" and config.normalize_target
    assert (config.decoder_dim, config.decoder_depth, config.decoder_heads) == (512, 8, 16)
    method = MAE(MAEConfig(backbone="vit_tiny_patch16_224", depth=2, decoder_depth=8), image_px=224)
    assert method.grid == (14, 14) and method.decoder_predict.out_features == 768
    assert method.decoder_embed.in_features == 192 and len(method.decoder_blocks) == 8
    assert method.encoder.norm.eps == 1e-6 and method.decoder_norm.eps == 1e-6
    assert method.encoder.blocks[0].attn.qkv.bias is not None and method.decoder_blocks[0].attn.qkv.bias is not None
    assert float(method.mask_token.detach().std()) == pytest.approx(0.02, rel=0.2)


def test_orders_by_hand() -> None:
    visible, restore = orders(torch.tensor([[True, False, True, False], [False, False, True, True]]))
    assert visible.tolist() == [[1, 3], [0, 1]]
    # Patch 0 of the first image lies third in [seen 1, seen 3, masked 0, masked 2].
    assert restore.tolist() == [[2, 0, 3, 1], [0, 1, 2, 3]]


def test_the_encoder_is_given_visible_patches_only() -> None:
    method, views, masks = tiny(), random_views(1, 3, 16), random_masks(1, 3, 4, 4, 4)
    lengths: list[int] = []
    for block in method.encoder.blocks:
        block.register_forward_hook(lambda module, inputs, output: lengths.append(inputs[0].shape[1]))
    method(batch_of(views, masks))
    assert lengths == [5, 5]  # the class token and 4 of 16 patches


def test_masked_pixels_change_nothing_that_the_encoder_says() -> None:
    method, views, masks = tiny().eval(), random_views(1, 3, 16), random_masks(1, 3, 4, 4, 4)
    hidden = torch.from_numpy(masks[0].repeat(4, 1).repeat(4, 2))[:, None]
    visible, _ = orders(torch.from_numpy(masks[0]).flatten(1))
    seen = method.encode(views[0], visible)
    assert torch.equal(method.encode(torch.where(hidden, 7.0, views[0]), visible), seen)
    assert not torch.allclose(method.encode(torch.where(hidden, views[0], 7.0), visible), seen)


def test_with_all_patches_the_encoder_is_timms_own_network() -> None:
    method, images = tiny().eval(), random_views(1, 3, 16)[0]
    torch.testing.assert_close(method.encode(images), method.encoder.forward_features(images))
    every = torch.arange(16).expand(3, -1)
    torch.testing.assert_close(method.encode(images, every), method.encode(images))


def test_dropping_equals_the_same_network_with_attention_to_the_visible_alone() -> None:
    # Independent of gather: run all tokens, but let nobody look at the masked ones.
    method, images = tiny().eval(), random_views(1, 2, 16)[0]
    mask = torch.from_numpy(random_masks(1, 2, 4, 4, 5)[0]).flatten(1)
    visible, _ = orders(mask)
    allowed = torch.cat([torch.ones(2, 1, dtype=torch.bool), ~mask], 1)
    vit = method.encoder
    x = torch.cat([vit.cls_token.expand(2, -1, -1), vit.patch_embed(images)], 1) + vit.pos_embed
    for block in vit.blocks:
        x = block(x, attn_mask=allowed[:, None, None, :])
    expected = vit.norm(x)
    got = method.encode(images, visible)
    torch.testing.assert_close(got[:, 0], expected[:, 0], rtol=1e-4, atol=1e-5)
    for row in range(2):
        torch.testing.assert_close(got[row, 1:], expected[row, 1:][~mask[row]], rtol=1e-4, atol=1e-5)


def test_every_token_returns_to_its_place_before_the_decoder_adds_positions() -> None:
    method = tiny()
    mask = torch.from_numpy(random_masks(1, 2, 4, 4, 4)[0]).flatten(1)
    visible, restore = orders(mask)
    given: list[torch.Tensor] = []
    method.decoder_blocks[0].register_forward_hook(lambda module, inputs, output: given.append(inputs[0]))
    tokens = torch.randn(2, 5, 32)
    assert method.decode(tokens, restore).shape == (2, 16, 48)
    placed = (given[0] - method.decoder_positions).detach()
    embedded = method.decoder_embed(tokens).detach()
    for row in range(2):
        torch.testing.assert_close(placed[row, 0], embedded[row, 0])
        for patch in range(16):
            there = visible[row].tolist()
            expected = embedded[row, 1 + there.index(patch)] if patch in there else method.mask_token[0, 0].detach()
            torch.testing.assert_close(placed[row, 1 + patch], expected, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_error_on_masked_normalised_patches() -> None:
    method, views, masks = tiny(), random_views(2, 3, 16), random_masks(2, 3, 4, 4, 4)
    images, mask = views.flatten(0, 1), torch.from_numpy(masks).flatten(0, 1).flatten(1)
    painted = method.decode(method.encode(images, orders(mask)[0]), orders(mask)[1]).detach()
    for normalize in (True, False):
        target = normalize_patches(patchify(images, 4)) if normalize else patchify(images, 4)
        loss = tiny(normalize_target=normalize)(batch_of(views, masks))["loss"]
        assert float(loss.detach()) == pytest.approx(float((painted - target)[mask].square().mean()), rel=1e-5)


def test_positions_are_fixed_and_every_trainable_weight_gets_a_gradient() -> None:
    method = tiny()
    assert not method.encoder.pos_embed.requires_grad and "decoder_positions" not in method.state_dict()
    values = method(batch_of(random_views(1, 3, 16), random_masks(1, 3, 4, 4, 4)))
    assert not values["prediction_std"].requires_grad
    values["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []


def test_it_learns_at_32_px_with_patches_of_4() -> None:
    method = tiny(32, depth=1)
    assert method.grid == (8, 8)
    ramp = torch.linspace(-1, 1, 32)
    views = (ramp[:, None] * torch.tensor([1.0, -1.0])[:, None, None, None] + ramp)[None].expand(1, 2, 3, 32, 32)
    optimizer = torch.optim.AdamW(method.parameters(), 1e-2)
    losses = []
    for step in range(15):
        loss = method(batch_of(views, random_masks(1, 2, 8, 8, 16, seed=step)))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    # Below 1 is below what painting every patch's mean costs.
    assert losses[-1] < 0.6 * losses[0] and losses[-1] < 0.9


def test_features_see_all_patches() -> None:
    images = random_views(1, 3, 16)[0]
    cls, mean = tiny().eval(), tiny(pooling="mean").eval()
    tokens = cls.encode(images)
    assert torch.equal(cls.features(images), tokens[:, 0]) and cls.features(images).shape == (3, cls.feature_dim)
    torch.testing.assert_close(mean.features(images), tokens[:, 1:].mean(1))
    assert cls.features(images[:0]).shape == (0, 32) and cls.embed(images) is None


def test_what_does_not_fit_is_refused() -> None:
    views = random_views(1, 2, 16)
    with pytest.raises(ValueError, match="masks of 2 x 2 patches do not fit a backbone of 4 x 4 patches of 4 px; set model"):
        tiny()(batch_of(views, random_masks(1, 2, 2, 2, 1)))
    uneven = np.concatenate([random_masks(1, 1, 4, 4, 4), random_masks(1, 1, 4, 4, 5)], 1)
    with pytest.raises(ValueError, match="same number of visible patches, at least 1, got 4 to 5 of 16"):
        tiny()(batch_of(views, uneven))
    with pytest.raises(ValueError, match="got 0 to 0 of 16"):
        tiny()(batch_of(views, np.ones((1, 2, 4, 4), bool)))
    with pytest.raises(ValueError, match="the recipe draws no masks for group 'global'"):
        tiny()(batch_of(views))
    with pytest.raises(ValueError, match=r"decoder_dim needs to be a multiple of 4 and of model\.decoder_heads=3, got 16"):
        tiny(decoder_heads=3)
    with pytest.raises(ValueError, match="is no plain vision transformer"):
        MAE(MAEConfig(backbone="resnet18"), image_px=32)
    with pytest.raises(ValueError, match=r"has no class token; use model\.pooling=mean"):
        MAE(MAEConfig(**{**TINY, "backbone": "vit_little_patch16_reg1_gap_256"}), image_px=16)  # type: ignore[arg-type]


def test_the_first_weights_are_the_published_ones() -> None:
    # Xavier: uniform in +- sqrt(6 / (in + out)), so its largest value is close to the bound and none lies beyond.
    method = tiny(embed_dim=64, decoder_dim=64)
    linear = [m for m in method.modules() if isinstance(m, torch.nn.Linear)]
    assert len(linear) == 4 * 2 + 4 * 1 + 2
    for weight in [*(m.weight for m in linear), method.encoder.patch_embed.proj.weight.flatten(1)]:
        bound = (6 / sum(weight.shape)) ** 0.5
        assert 0.95 * bound < float(weight.detach().abs().max()) <= bound * (1 + 1e-6)
    assert all(float(m.bias.detach().abs().sum()) == 0 for m in linear)
    for token in (method.encoder.cls_token, method.mask_token):
        assert float(token.detach().std()) == pytest.approx(0.02, rel=0.4)


def test_pictures_show_what_is_seen_what_is_painted_and_what_was_there() -> None:
    recipe = presets.recipe("mae_cifar")
    method = tiny(32).eval()
    rng = np.random.default_rng(0)
    levels = torch.from_numpy(rng.integers(0, 256, (3, 3, 32, 32)).astype(np.float32))
    mean, std = (torch.tensor(of)[:, None, None] for of in (IMAGENET_MEAN, IMAGENET_STD))
    masks = random_masks(1, 3, 8, 8, 16)
    batch = batch_of(((levels / 255 - mean) / std)[None], masks)
    with torch.no_grad():
        columns = method.pictures(Shown(batch, recipe))
        painted, _ = method.paint(batch.views["global"][0], torch.from_numpy(masks[0]))
    assert list(columns) == ["masked", "reconstruction", "original"]
    hidden = torch.from_numpy(masks[0].repeat(4, 1).repeat(4, 2))[:, None].expand(-1, 3, -1, -1)
    torch.testing.assert_close(columns["original"], levels / 255)
    assert (columns["masked"][hidden] == 0.5).all()
    for title in ("masked", "reconstruction"):
        torch.testing.assert_close(columns[title][~hidden], (levels / 255)[~hidden])
    # One patch by hand: painted values times the true patch's deviation (n - 1) over all its 48 values, plus its mean, then
    # back through the normalization by channel.
    row, (top, left) = 1, np.argwhere(masks[0, 1])[3] * 4
    true = batch.views["global"][0, row, :, top : top + 4, left : left + 4].double()
    made = painted[row, top // 4 * 8 + left // 4].double().reshape(4, 4, 3).permute(2, 0, 1)
    made = (made * (true.var() + 1e-6).sqrt() + true.mean()) * std + mean
    torch.testing.assert_close(columns["reconstruction"][row, :, top : top + 4, left : left + 4].double(), made.clamp(0, 1),
                               rtol=1e-4, atol=1e-5)
