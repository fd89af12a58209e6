"""What a head may stand on: class tokens of the last blocks and the mean patch token, as DINO and DINOv2 have them."""

from __future__ import annotations

import pytest
import torch
from viewmill.augment.presets import recipe
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.linear.kinds import Kinds
from viewmill.evaluation.pictures import evaluation_recipe
from viewmill.models.backbone import backbone

from ..tasks import tiny_encoder


@pytest.fixture(scope="module")
def vit() -> Encoder:
    torch.manual_seed(0)
    module, dim = backbone("vit_tiny_patch16_224", 32, embed_dim=24, depth=5, heads=3, patch_px=8)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # timm's own class token is all but zero
    return Encoder(module, dim, 32, evaluation_recipe(recipe("probe"), 32), "a small ViT").eval().requires_grad_(False)


def by_hand(vit: Encoder, images: torch.Tensor) -> list[torch.Tensor]:
    """The tokens (N, 1 + L, D) that leave each block, after the last norm: DINO's get_intermediate_layers."""
    net = vit.module
    x = net.patch_embed(images)
    x = torch.cat([net.cls_token.expand(len(x), -1, -1), x], 1) + net.pos_embed
    outputs = []
    for block in net.blocks:
        x = block(x)
        outputs.append(net.norm(x))
    return outputs


def test_kinds_are_the_tokens_that_their_names_say(vit: Encoder) -> None:
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    see = Kinds(vit, ["cls1", "cls4", "cls4+mean", "mean", "cls1+mean", "features"])
    got = see.apart(see(images))
    blocks = by_hand(vit, images)
    four = torch.cat([tokens[:, 0] for tokens in blocks[-4:]], 1)
    mean = blocks[-1][:, 1:].mean(1)
    expected = {"cls1": blocks[-1][:, 0], "cls4": four, "cls4+mean": torch.cat([four, mean], 1), "mean": mean,
                "cls1+mean": torch.cat([blocks[-1][:, 0], mean], 1), "features": blocks[-1][:, 0]}
    assert list(got) == list(expected) and see.dims == {"cls1": 24, "cls4": 96, "cls4+mean": 120, "mean": 24, "cls1+mean": 48,
                                                        "features": 24}
    for kind, features in expected.items():
        torch.testing.assert_close(got[kind], features, rtol=1e-5, atol=1e-5)


def test_the_encoders_own_features_are_kept_under_the_name_that_all_protocols_share(vit: Encoder) -> None:
    assert Kinds(vit, ["features"]).name == "features"
    assert Kinds(vit, ["features", "cls1"]).name != Kinds(vit, ["features", "cls4"]).name


def test_kinds_that_are_not_there_are_refused(vit: Encoder) -> None:
    with pytest.raises(ValueError, match=r"kinds needs names like features, cls1, .* got \['cls0'\]"):
        Kinds(vit, ["cls0"])
    with pytest.raises(ValueError, match="kinds needs names like"):
        Kinds(vit, [])
    with pytest.raises(ValueError, match="kinds=cls6 needs 6 blocks, a small ViT has 5"):
        Kinds(vit, ["cls1", "cls6"])
    with pytest.raises(ValueError, match=r"kinds=cls4 needs a vision transformer .* tiny is not; use kinds=\[features\]"):
        Kinds(tiny_encoder(), ["cls4"])
