"""CAE: which patches each of its three parts sees, what is told of the hidden ones, and what both losses are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from viewmill.augment import presets
from viewmill.models import METHODS, method_info
from viewmill.models.cae import CAE, CAEConfig
from viewmill.models.pictured import Shown
from viewmill.models.positions import sincos_2d
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import learn
from viewmill.models.vit import tokens
from viewmill.pipelines.batch import Batch

from ..world import World
from .batches import batch_of, random_masks, random_views
from .flops import multiply_adds
from .ranks import SGD, Told, assert_alike, steps_of

TINY = {"backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 32, "depth": 2, "heads": 2, "drop_path": 0.0,
        "regressor_depth": 2, "decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2, "vocabulary": 11, "tokenizer": "dvae",
        "tokenizer_width": 4, "tokenizer_halvings": 2}


def tiny(image_px: int = 16, **fields: object) -> CAE:
    torch.manual_seed(0)
    method = CAE(CAEConfig(**{**TINY, **fields}), image_px=image_px)  # type: ignore[arg-type]
    method.targets.codes = by_brightness  # an untrained tokenizer's would nearly all be one
    return method


def by_brightness(images: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """A tokenizer of 11 codes: how bright a patch is on the mean, from dark to light."""
    means = torch.nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), grid).flatten(1)
    return (means * 40 - 15).long().clamp(0, 10)


def batch(images: int = 3, views: int = 1, seed: int = 0, rows: slice = slice(None)) -> Batch:
    """Half of 16 patches masked; pictures of the same size for the tokenizer, from 0.1 to 0.9."""
    seen = random_views(views, images, 16, seed)[:, rows]
    masks = random_masks(views, images, 4, 4, 8, seed)[:, rows]
    return batch_of(masks=masks, **{"global": seen, "target": seen.sigmoid() * 0.8 + 0.1})


def sides(method: CAE, given: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images = given.views["global"].flatten(0, 1)
    return (images, *method._sides(given.masks("global").flatten(0, 1), images.device))


def test_the_published_network_and_what_it_costs() -> None:
    with torch.device("meta"):
        method = CAE(method_info("cae").config(), image_px=224)
    d, k = 768, 8192
    encoder = 85_798_656 + 12 * 2 * d  # two gains a block
    assert sum(p.numel() for p in method.encoder.parameters()) == encoder
    block = 4 * (d * d + d) + 8 * d * d + 5 * d + 2 * d
    regressor = d + 4 * (block + 4 * 2 * d) + 2 * d  # with four norms
    decoder = 4 * (block + 2 * 2 * d) + 2 * d + d * k + k
    assert sum(p.numel() for p in method.parameters()) == encoder + regressor + decoder and len(method.to_decoder) == 0
    # Half of 196 patches: the encoder's tokens are 99, the regressor's keys 196, and the decoder's 98.
    images, half = torch.zeros(1, 3, 224, 224, device="meta"), torch.arange(98, device="meta")[None]
    own = 12 * (12 * 99 * d * d + 2 * 99**2 * d) + 196 * d * d
    told = 4 * (98 * 2 * d * d + 196 * 2 * d * d + 2 * 98 * 196 * d + 8 * 98 * d * d)
    codes = 4 * (12 * 98 * d * d + 2 * 98**2 * d) + 98 * d * k
    for counted, card in ((own, 8.7e9), (told, 3.4e9), (codes, 3.5e9)):
        assert counted == pytest.approx(card, rel=0.015)
    assert multiply_adds(method.tell, images, half, half) == pytest.approx(own + told + codes, rel=0.01)


def test_large_is_the_network_that_its_script_really_made() -> None:
    of = METHODS["cae"].variants["large"]
    with torch.device("meta"):
        method = CAE(method_info("cae").config(**of.fields), image_px=224)
    assert method.feature_dim == 1024
    assert [tuple(p.shape) for p in method.to_decoder.parameters()] == [(768, 1024), (768,), (768,), (768,)]


def test_positions_are_the_authors_whose_first_half_is_the_rows() -> None:
    table, mae = tiny().places[0], sincos_2d(4, 4, 16)
    assert torch.equal(table[:, :8], mae[:, 8:]) and torch.equal(table[:, 8:], mae[:, :8])
    # Patch 6 is in row 1, column 2: sin and cos of 1 at the frequency 1, then of 2.
    assert table[6, [0, 4, 8, 12]].tolist() == pytest.approx([math.sin(1), math.cos(1), math.sin(2), math.cos(2)])
    assert "places" not in tiny().state_dict() and not tiny().encoder.pos_embed.requires_grad
    assert torch.equal(tiny().encoder.pos_embed[0, 0], torch.zeros(32))


def test_the_encoder_sees_one_side_and_the_alignment_the_other() -> None:
    method, given, lengths, seen = tiny(), batch(), [], []
    def look(module: torch.nn.Module, x: tuple[torch.Tensor, ...]) -> None:
        lengths.append(x[0].shape)
        seen.append((x[0].detach(), torch.is_grad_enabled()))

    method.encoder.blocks[0].register_forward_pre_hook(look)
    method(given)
    assert lengths == [(3, 9, 32)] * 2 and [on for _, on in seen] == [True, False]
    images, visible, hidden = sides(method, given)
    embedded = method.encoder.patch_embed(images).detach() + method.encoder.pos_embed[:, 1:]
    for (given_to_it, _), which in zip(seen, (visible, hidden), strict=True):
        torch.testing.assert_close(given_to_it[:, 1:], embedded.gather(1, which[:, :, None].expand(-1, -1, 32)))
    assert torch.equal(torch.cat([visible, hidden], 1).sort(1).values, torch.arange(16).expand(3, -1))


def test_hidden_pixels_change_nothing_that_is_told() -> None:
    method, given = tiny().eval(), batch()
    images, visible, hidden = sides(method, given)
    covered = given.masks("global")[0].repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None]
    told, forged = method.tell(images, visible, hidden), method.tell(torch.where(covered, 7.0, images), visible, hidden)
    assert all(torch.equal(a, b) for a, b in zip(told, forged, strict=True))
    assert not torch.allclose(method.tell(torch.where(covered, images, 7.0), visible, hidden)[1], told[1])


def test_the_decoder_sees_hidden_patches_alone_each_in_its_place() -> None:
    method, given, told, seen = tiny(), batch(), [], []
    method.regressor.register_forward_hook(lambda module, x, made: told.append(made))
    method.decoder.register_forward_hook(lambda module, x, made: seen.append(x[0]))
    images, visible, hidden = sides(method, given)
    method.tell(images, visible, hidden)
    places = torch.stack([method.places[0, which] for which in hidden])
    torch.testing.assert_close(seen[0], told[0] + places)
    assert seen[0].shape == (3, 8, 16)


def test_places_say_which_hidden_patch_is_meant() -> None:
    # Told of two patches alone or in another order, each stays itself: queries differ by their places alone.
    method, given = tiny().eval(), batch()
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    images, visible, hidden = sides(method, given)
    order = torch.randperm(8)
    with torch.no_grad():
        latents, logits = method.tell(images, visible, hidden)
        for told, turned in zip((latents, logits), method.tell(images, visible, hidden[:, order]), strict=True):
            torch.testing.assert_close(turned, told[:, order], rtol=1e-4, atol=1e-5)
    assert float(latents.std(1).mean()) > 0.01


def test_both_losses_by_hand() -> None:
    method, given = tiny(alignment_weight=3.0), batch(views=2)
    values = method(given)
    with torch.no_grad():
        images, visible, hidden = sides(method, given)
        latents, logits = (x.double().numpy() for x in method.tell(images, visible, hidden))
        codes = method.targets.codes(given.views["target"].flatten(0, 1), (4, 4)).gather(1, hidden).numpy()
    assert latents.shape == (6, 8, 16) and logits.shape == (6, 8, 11)
    assert len(np.unique(codes)) > 3
    losses = [np.log(np.exp(logits[n, m]).sum()) - logits[n, m, codes[n, m]] for n, m in np.ndindex(6, 8)]
    assert float(values["code_loss"]) == pytest.approx(np.mean(losses), rel=1e-4)
    assert float(values["accuracy"]) == pytest.approx((logits.argmax(2) == codes).mean())
    assert float(values["loss"].detach()) == pytest.approx(float(values["code_loss"] + 3 * values["alignment"]), rel=1e-5)


def test_the_alignment_is_to_the_encoders_own_tokens_of_the_hidden_patches_by_themselves() -> None:
    method, given = tiny(), batch()
    images, visible, hidden = sides(method, given)
    values = method(given)
    with torch.no_grad():
        latents = method.tell(images, visible, hidden)[0]
        vit, errors = method.encoder, []
        for n in range(3):  # an image at a time, its class token and hidden patches written out
            x = vit.patch_embed(images[n : n + 1])[0, hidden[n]] + vit.pos_embed[0, 1 + hidden[n]]
            x = torch.cat([vit.cls_token[0] + vit.pos_embed[0, :1], x])[None]
            said = method.to_decoder(vit.norm(vit.blocks(x)))[0, 1:]
            errors.append((latents[n] - said).double().square().numpy())
    assert float(values["alignment"]) == pytest.approx(np.mean(errors), rel=1e-4)


def test_no_gradient_goes_through_what_is_aligned_to() -> None:
    # Where the encoder's own tokens are held still, the gradient is the same.
    method, given = tiny(), batch()
    images, visible, hidden = sides(method, given)
    method(given)["loss"].backward()
    kept = {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}
    method.zero_grad()
    with torch.no_grad():
        aligned = method.to_decoder(tokens(method.encoder, images, hidden))[:, 1:]
    latents, logits = method.tell(images, visible, hidden)
    codes = method.targets.codes(given.views["target"][0], (4, 4)).gather(1, hidden)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), codes.flatten()) + 2 * (latents - aligned).square().mean()
    loss.backward()
    assert kept.keys() == {name for name, p in method.named_parameters() if p.grad is not None}
    for name, parameter in method.named_parameters():
        if name in kept:
            torch.testing.assert_close(parameter.grad, kept[name])
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []


def test_codes_of_which_nothing_is_known_cost_the_logarithm_of_their_number() -> None:
    method = tiny()
    torch.nn.init.zeros_(method.head.weight)
    assert float(method(batch())["code_loss"]) == pytest.approx(math.log(11), rel=1e-5)


def test_first_weights_and_gains_are_the_authors() -> None:
    method = tiny(embed_dim=64, decoder_dim=64, layer_scale=1e-5, drop_path=0.3)
    for block in method.encoder.blocks:
        assert float(block.ls1.gamma.detach().min()) == float(block.ls2.gamma.detach().max()) == pytest.approx(1e-5)
    for block in method.decoder:
        assert float(block.ls1.gamma.detach().min()) == pytest.approx(0.1)
    for weight in (method.encoder.blocks[1].attn.qkv.weight, method.regressor.blocks[0].attn.k.weight, method.head.weight):
        bound = (6 / sum(weight.shape)) ** 0.5
        assert 0.95 * bound < float(weight.detach().abs().max()) <= bound * (1 + 1e-6)
    for token in (method.encoder.cls_token, method.regressor.mask_token, method.encoder.patch_embed.proj.weight):
        assert 0.015 < float(token.detach().abs().max()) <= 0.02
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in method.encoder.blocks]
    assert rates == pytest.approx([0, 0.3])
    assert [getattr(block.drop_path, "drop_prob", 0.0) for block in method.regressor.blocks] == pytest.approx([0, 0.3])


def step_batch(step: int, which: slice) -> Batch:
    return batch(12, seed=step, rows=which)


def two_steps(images: int) -> Told:
    return steps_of(tiny(), step_batch, images)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_are_the_parts_of_one_process(world: World, ranks: int) -> None:
    assert_alike(two_steps(12), world(ranks, two_steps, 12), first=4)


def test_it_learns_codes_of_what_is_hidden_from_what_is_around() -> None:
    method, along = tiny(), torch.arange(16.0)
    views = torch.stack([torch.sin(along[:, None] * s + along).expand(3, -1, -1) for s in torch.linspace(-2, 2, 32)])[None]
    optimizer, losses = build_optimizer(method, replace(SGD, name="adamw", weight_decay=0.0)), []
    shares = torch.bincount(by_brightness(views[0] * 0.4 + 0.5, (4, 4)).flatten()).double().numpy() / (32 * 16)
    by_frequency = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    for step in range(300):
        given = batch_of(masks=random_masks(1, 32, 4, 4, 8, step), **{"global": views, "target": views * 0.4 + 0.5})
        values = method(given)
        learn(method, optimizer, values["loss"], 3e-3, None, 0.5)
        losses.append([float(values[name]) for name in ("code_loss", "alignment")])
    code_loss, alignment = np.mean(losses[-5:], 0)
    assert code_loss < 0.8 * by_frequency < losses[0][0] and alignment < losses[0][1]
    with torch.no_grad():  # regressed latents are nearer to their own than to other images' at these places
        images, visible, hidden = sides(method, given)
        latents = method.tell(images, visible, hidden)[0]
        aligned = method.to_decoder(tokens(method.encoder, images, hidden))[:, 1:]
        own, other = ((latents - to).square().mean() for to in (aligned, aligned.roll(1, 0)))
    assert float(own) < float(other)


def test_features_see_all_patches() -> None:
    images = random_views(1, 3, 16)[0]
    for pooling, pick in (("cls", lambda t: t[:, 0]), ("mean", lambda t: t[:, 1:].mean(1))):
        method = tiny(pooling=pooling).eval()
        torch.testing.assert_close(method.features(images), pick(method.encoder.forward_features(images)))


def test_pictures_show_codes_and_those_that_are_told_where_it_was_masked() -> None:
    recipe, method = presets.recipe("cae_cifar"), tiny(32).eval()
    views, masks = random_views(1, 3, 32), random_masks(1, 3, 8, 8, 32)
    given = batch_of(masks=masks, **{"global": views, "target": views.sigmoid() * 0.8 + 0.1})
    with torch.no_grad():
        columns = method.pictures(Shown(given, recipe))
    assert list(columns) == ["masked", "codes", "told", "painted", "original"]
    hidden = torch.from_numpy(masks[0])[:, None].expand(-1, 3, -1, -1)
    assert columns["codes"].shape == (3, 3, 8, 8) and torch.equal(columns["told"][~hidden], columns["codes"][~hidden])
    covered = hidden.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert (columns["masked"][covered] == 0.5).all() and columns["painted"].shape == (3, 3, 32, 32)


@pytest.mark.parametrize(("fields", "message"), [
    ({"decoder_dim": 10}, "model.decoder_dim needs to be a multiple of 4 and of model.decoder_heads=2, got 10"),
    ({"backbone": "vit_base_patch16_siglip_224"}, "needs a class token, and a norm before it pools"),
    ({"layer_scale": 0.0}, "model.layer_scale needs a number above 0, got 0.0"),
    ({"alignment_weight": -1.0}, "model.alignment_weight needs a number of at least 0, got -1.0"),
])
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**fields)


def test_what_does_not_fit_a_batch_is_refused() -> None:
    views, masks = random_views(1, 2, 16), random_masks(1, 2, 4, 4, 8)
    with pytest.raises(ValueError, match="cae needs the views of group 'global' once more as group 'target'"):
        tiny()(batch_of(views, masks))
    with pytest.raises(ValueError, match=r"masks of 2 x 2 patches do not fit a backbone of 4 x 4 patches; set model.patch_px"):
        tiny()(batch_of(masks=random_masks(1, 2, 2, 2, 2), **{"global": views, "target": views.sigmoid()}))
    with pytest.raises(ValueError, match="every image needs the same number of visible patches, at least 1, got 4 to 8 of 16"):
        uneven = np.concatenate([masks[:, :1], random_masks(1, 1, 4, 4, 4)], 1)
        tiny()(batch_of(masks=uneven, **{"global": views, "target": views.sigmoid()}))
    with pytest.raises(ValueError, match="no patch is masked, so there is nothing to learn from"):
        tiny()(batch_of(masks=np.zeros((1, 2, 4, 4), bool), **{"global": views, "target": views.sigmoid()}))
