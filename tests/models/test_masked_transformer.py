"""A transformer that sees a vector in the place of what is masked: what goes in, in which order, and what of it comes out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from viewmill.models.masked_transformer import MaskedTransformer, MaskedTransformerConfig, share_of

from ..world import World
from .batches import batch_of, random_masks, random_views

TINY = {"backbone": "vit_tiny_patch16_224", "patch_px": 4, "embed_dim": 32, "depth": 2, "heads": 2, "drop_path": 0.0}
ABSOLUTE = {"positions": "absolute", "layer_scale": None}


def small(**fields: object) -> MaskedTransformer:
    torch.manual_seed(0)
    return MaskedTransformer(MaskedTransformerConfig(**{**TINY, **fields}), image_px=16).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [{}, ABSOLUTE, {**ABSOLUTE, "backbone": "vit_small_patch14_reg4_dinov2"}])
def test_with_nothing_masked_it_is_timms_own_network(fields: dict[str, object]) -> None:
    method, images = small(**fields), random_views(1, 3, 16)[0]
    torch.testing.assert_close(method.tokens(images), method.encoder.forward_features(images))
    torch.testing.assert_close(method.tokens(images, torch.zeros(3, 16, dtype=torch.bool)), method.tokens(images))


@pytest.mark.parametrize("fields", [{}, ABSOLUTE])
def test_a_masked_patch_is_replaced_behind_its_embedding_and_before_positions(fields: dict[str, object]) -> None:
    # Independent of torch.where: an image whose patch is embedded as the mask vector by a projection that was solved for it.
    method, images = small(**fields), random_views(1, 1, 16)[0]
    projection = method.encoder.patch_embed.proj
    flat = projection.weight.detach().flatten(1)
    pixels = torch.linalg.lstsq(flat, (method.mask_token.detach()[0, 0] - projection.bias.detach())[:, None]).solution
    forged = images.clone()
    forged[0, :, 4:8, 8:12] = pixels.reshape(3, 4, 4)  # the patch of row 1, column 2
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[0, 6] = True
    torch.testing.assert_close(method.tokens(images, mask), method.tokens(forged), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fields", [{}, ABSOLUTE])
def test_what_is_masked_changes_nothing(fields: dict[str, object]) -> None:
    method, images = small(**fields), random_views(1, 3, 16)[0]
    masks = random_masks(1, 3, 4, 4, 9)[0]
    hidden = torch.from_numpy(masks.repeat(4, 1).repeat(4, 2))[:, None]
    mask = torch.from_numpy(masks).flatten(1)
    assert torch.equal(method.tokens(torch.where(hidden, 7.0, images), mask), method.tokens(images, mask))
    assert not torch.allclose(method.tokens(torch.where(hidden, images, 7.0), mask), method.tokens(images, mask))


def test_the_published_network_is_beits() -> None:
    with torch.device("meta"):
        method = MaskedTransformer(MaskedTransformerConfig(), image_px=224)
    # ViT-B/16 without its table of 197 x 768 positions, with 27 * 27 + 3 biases for 12 heads and two gains of 768 a block; timm's
    # Beit has the query's and the value's bias by themselves and none for the key.
    plain = 85_798_656 - 197 * 768
    assert sum(p.numel() for p in method.encoder.parameters()) == plain + (27**2 + 3) * 12 + 12 * 2 * 768 - 12 * 768
    assert method.grid == (14, 14) and method.feature_dim == 768 and method.prefix == 1


def test_first_weights_are_beits() -> None:
    torch.manual_seed(0)
    method = MaskedTransformer(MaskedTransformerConfig(backbone="vit_tiny_patch16_224"), image_px=224)
    assert float(method.encoder.rel_pos_bias.relative_position_bias_table.detach().abs().max()) == 0
    assert float(method.mask_token.detach().std()) == pytest.approx(0.02, rel=0.2)
    for number, block in enumerate(method.encoder.blocks, 1):
        assert float(block.attn.proj.weight.detach().std()) == pytest.approx(0.02 / math.sqrt(2 * number), rel=0.03)
        assert float(block.mlp.fc2.weight.detach().std()) == pytest.approx(0.02 / math.sqrt(2 * number), rel=0.03)
        assert float(block.mlp.fc1.weight.detach().std()) == pytest.approx(0.02, rel=0.03)
        torch.testing.assert_close(block.gamma_1.detach(), torch.full((192,), 0.1))


def test_stochastic_depth_rises_to_the_last_block() -> None:
    method = small(depth=3, drop_path=0.3)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in method.encoder.blocks]
    assert rates == pytest.approx([0.0, 0.15, 0.3])


def test_features_are_the_patches_mean_or_the_class_token() -> None:
    images = random_views(1, 2, 16)[0]
    for pooling, pick in (("mean", lambda t: t[:, 1:].mean(1)), ("cls", lambda t: t[:, 0])):
        method = small(pooling=pooling)
        torch.testing.assert_close(method.features(images), pick(method.tokens(images)))


def test_images_and_masks_of_all_views() -> None:
    views, masks = random_views(2, 3, 16), random_masks(2, 3, 4, 4, 9)
    images, mask = small().masked(batch_of(views, masks))
    assert torch.equal(images, views.flatten(0, 1)) and torch.equal(mask, torch.from_numpy(masks).reshape(6, 16))


def shares(rows: list[int]) -> float:
    import torch.distributed as dist

    return float(share_of(rows[dist.get_rank()], torch.device("cpu")))


def test_shares_weigh_a_ranks_mean_by_its_rows(world: World) -> None:
    assert world(2, shares, [3, 1]) == [1.5, 0.5] and world(3, shares, [1, 1, 4]) == [0.5, 0.5, 2.0]
    assert float(share_of(7, torch.device("cpu"))) == 1


@pytest.mark.parametrize(("fields", "message"), [
    ({"positions": "absolute"}, "model.layer_scale=0.1 goes with model.positions=relative; use model.layer_scale=null"),
    ({"layer_scale": 0.0}, "model.layer_scale needs a number above 0, got 0.0"),
    ({"drop_path": 1.5}, r"model.drop_path needs a number in \[0, 1\], got 1.5"),
    ({"backbone": "resnet18"}, "backbone 'resnet18' takes no patch_px"),
    ({"backbone": "vit_base_patch16_siglip_224", "pooling": "cls", **ABSOLUTE}, "has no class token; use model.pooling=mean"),
])
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**fields)


def test_masks_of_another_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=r"masks of 8 x 8 patches do not fit a backbone of 4 x 4 patches of 4 px; set model\."):
        small().masked(batch_of(random_views(1, 2, 16), random_masks(1, 2, 8, 8, 9)))


def test_a_step_without_a_masked_patch_is_refused() -> None:
    with pytest.raises(ValueError, match="no patch of this step is masked"):
        share_of(0, torch.device("cpu"))


def test_it_is_a_module_whose_parts_are_found_by_name() -> None:
    assert isinstance(small().encoder, nn.Module) and "mask_token" in dict(small().named_parameters())
