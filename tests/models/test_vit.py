"""A vision transformer on other sizes than its own: positions as DINO interpolates them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import timm
import torch
from viewmill.models.backbone import backbone, vision_transformer
from viewmill.models.vit import features_of, open_to_sizes, patches_alone, positions, tokens


def vit(image_px: int = 32, patch_px: int = 4, name: str = "vit_tiny_patch16_224") -> timm.models.VisionTransformer:
    torch.manual_seed(0)
    module = vision_transformer(name, image_px, patch_px=patch_px, embed_dim=24, depth=2, heads=3)
    open_to_sizes(module)
    return module.eval()


def cubic(x: float) -> float:
    """Keys' kernel with a = -0.75."""
    x, a = abs(x), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def resampling(own: int, new: int) -> np.ndarray:
    """(new, own) float64: each new position as weights of the own ones. Scale (new + 0.1) / own; beyond the edge, the edge."""
    weights = np.zeros((new, own))
    for i in range(new):
        at = (i + 0.5) * own / (new + 0.1) - 0.5
        for j in range(math.floor(at) - 1, math.floor(at) + 3):
            weights[i, min(max(j, 0), own - 1)] += cubic(at - j)
    return weights


@pytest.mark.parametrize(("own_px", "patch_px", "rows", "columns"), [
    (224, 16, 6, 6), (32, 4, 4, 4), (32, 4, 3, 5), (32, 4, 11, 8)])
def test_positions_of_other_sizes_are_the_scale_factors_ones(own_px: int, patch_px: int, rows: int, columns: int) -> None:
    module = vit(own_px, patch_px)
    own = own_px // patch_px
    table = module.pos_embed.detach().numpy()[0].astype(np.float64)
    grid = table[1:].reshape(own, own, -1)
    expected = np.einsum("ri,cj,ijd->rcd", resampling(own, rows), resampling(own, columns), grid).reshape(rows * columns, -1)
    found = positions(module, rows, columns)[0].detach().numpy()
    np.testing.assert_allclose(found, np.concatenate([table[:1], expected]), atol=1e-6)


def test_positions_learn_from_crops_of_every_size() -> None:
    module = vit()
    for px in (32, 16):
        module.zero_grad()
        features_of(module, torch.randn(2, 3, px, px)).square().sum().backward()
        assert all(float(p.grad.abs().sum()) > 0 for p in (module.pos_embed, module.cls_token, module.patch_embed.proj.weight))


@pytest.mark.parametrize("options", [{}, {"reg_tokens": 2}, {"reg_tokens": 2, "no_embed_class": True}, {"pre_norm": True},
                                     {"class_token": False, "global_pool": "avg"}])
def test_at_its_own_size_all_is_timms_to_the_bit(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    module = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=4, embed_dim=24, depth=2, num_heads=3,
                               num_classes=0, **options).eval()
    images = torch.randn(3, 3, 32, 32)
    expected = module.forward_features(images), module(images)
    open_to_sizes(module)
    assert torch.equal(tokens(module, images), expected[0]) and torch.equal(features_of(module, images), expected[1])


def test_visible_patches_keep_their_positions() -> None:
    # Without blocks nothing mixes the tokens: those of some patches are those rows of all.
    module = vit()
    module.blocks = torch.nn.Sequential()
    images, visible = torch.randn(2, 3, 16, 16), torch.tensor([[0, 5, 6], [15, 3, 1]])
    full, some = tokens(module, images), tokens(module, images, visible)
    assert some.shape == (2, 4, 24) and torch.equal(some[:, 0], full[:, 0])
    for image in range(2):
        torch.testing.assert_close(some[image, 1:], full[image, 1 + visible[image]])


def test_other_networks_are_asked_as_they_are() -> None:
    module, dim = backbone("convnet4", 32)
    open_to_sizes(module)
    assert features_of(module, torch.randn(2, 3, 20, 20)).shape == (2, dim)


def test_what_takes_no_other_size_says_so() -> None:
    closed, _ = backbone("swinv2_cr_tiny_224", 32)
    for module, px, words in ((closed, 16, "takes no views of 16 x 16 px: .*; use views of its own size"),
                              (vit(), 18, r"takes no views of 18 x 18 px: .*divisible by patch size")):
        with pytest.raises(ValueError, match=words) as caught:
            features_of(module, torch.randn(1, 3, px, px))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "vit_base_patch16_gap_224"])
def test_patches_alone_are_what_timm_builds_without_a_class_token(name: str) -> None:
    module = vit(name=name)
    first = {key: value.clone() for key, value in module.state_dict().items()}
    changed = patches_alone(module)
    built = timm.create_model(name, num_classes=0, img_size=32, patch_size=4, embed_dim=24, depth=2, num_heads=3,
                              class_token=False, reg_tokens=0, global_pool="avg", fc_norm=False).eval()
    built.load_state_dict(changed.state_dict())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(changed(images), built(images))
        torch.testing.assert_close(features_of(changed, images), built(images))
        torch.testing.assert_close(tokens(changed, images), built.forward_features(images))
    assert {key for key in first if key not in changed.state_dict()} <= {"cls_token", "reg_token"}
    assert torch.equal(changed.pos_embed, first["pos_embed"][:, -64:])
