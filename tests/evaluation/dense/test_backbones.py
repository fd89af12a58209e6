"""Backbones on pictures of any size: timm's own maps, at the strides that are said."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from viewmill.evaluation.dense.backbones import Levels, Pyramid, Shown, SimplePyramid, Trunk, dilate
from viewmill.models.backbone import backbone

from .sets import encoder_of, small

NARROW = (8, 16, 32, 64)


def test_a_resnet_s_four_stages() -> None:
    encoder = small("resnet18", 96, width=0.125, zero_init_last=False)
    levels = Levels(encoder).eval()
    assert levels.channels == NARROW and levels.strides == (4, 8, 16, 32)
    theirs = timm.create_model("resnet18", features_only=True, out_indices=(1, 2, 3, 4), channels=NARROW).eval()
    theirs.load_state_dict({name: value for name, value in encoder.module.state_dict().items() if name in theirs.state_dict()})
    images = torch.randn(2, 3, 64, 96)
    for ours, their in zip(levels(images), theirs(images), strict=True):
        assert torch.equal(ours, their)
    assert all(p.requires_grad for p in levels.parameters()) and not any(p.requires_grad for p in encoder.parameters())


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_dilation_is_timm_s(name: str) -> None:
    # Gains of 0 at the end of each block would hide what its convolutions do.
    ours: Any = timm.create_model(name, num_classes=0, channels=NARROW, zero_init_last=False).eval()
    theirs: Any = timm.create_model(name, num_classes=0, channels=NARROW, output_stride=8).eval()
    theirs.load_state_dict(ours.state_dict())
    dilate(ours, 8)
    images = torch.randn(1, 3, 64, 96)
    assert torch.equal(ours.forward_features(images), theirs.forward_features(images))
    assert ours.forward_features(images).shape[2:] == (8, 12)


def test_small_resnets_keep_their_stem_and_have_finer_maps() -> None:
    encoder = small("resnet18", 32, width=0.125)
    assert Levels(encoder).strides == (1, 2, 4, 8)
    dilated = Levels(encoder, output_stride=4)
    assert dilated.strides == (4, 4) and dilated.channels == NARROW[2:]


def test_a_transformer_s_patches_before_the_norm() -> None:
    encoder = small("vit_tiny_patch16_224", 32, embed_dim=16, depth=2, heads=2)
    levels = Levels(encoder).eval()
    images = torch.randn(2, 3, 32, 32)
    vit: Any = encoder.module
    (theirs,) = vit.forward_intermediates(images, indices=[1], intermediates_only=True)
    assert torch.allclose(levels(images)[0], theirs, atol=1e-6) and levels.strides == (16,)
    assert levels(torch.randn(1, 3, 48, 96))[0].shape == (1, 16, 3, 6)
    assert levels.module.pos_embed.requires_grad


def test_a_transformer_of_relative_positions() -> None:
    beit = timm.create_model("beit_base_patch16_224", num_classes=0, img_size=32, embed_dim=16, depth=2, num_heads=2)
    levels = Levels(encoder_of(beit)).eval()
    images = torch.randn(2, 3, 32, 32)
    (theirs,) = beit.forward_intermediates(images, indices=[1], intermediates_only=True)
    assert torch.equal(levels(images)[0], theirs) and levels.strides == (16,)
    assert levels(torch.randn(1, 3, 48, 96))[0].shape == (1, 16, 3, 6)


def test_weights_that_no_map_depends_on_do_not_train() -> None:
    levels = Levels(encoder_of(backbone("alexnet", 67)[0], 67))
    trains = {name: p.requires_grad for name, p in levels.module.named_parameters()}
    assert levels.channels == (64, 192, 256)  # conv1, conv2, and conv5 of the three at one resolution
    assert not trains["fc.0.weight"] and all(value for name, value in trains.items() if not name.startswith("fc."))


def test_the_pyramids_strides() -> None:
    assert SimplePyramid(32, 8, 16).strides == (4, 8, 16, 32) and SimplePyramid(32, 8, 14).strides == (7, 14, 28)
    for encoder, strides in ((small("resnet18", 96, width=0.125), (4, 8, 16, 32, 64)),
                             (small("vit_tiny_patch16_224", 32, embed_dim=16, depth=1, heads=2), (4, 8, 16, 32, 64)),
                             (small("swin_tiny_patch4_window7_224", 32, embed_dim=24, window=2), (4, 8, 16, 32, 64))):
        pyramid = Pyramid(Levels(encoder), 8, norms=False).eval()
        assert pyramid.strides == strides and pyramid.multiple == 64
        found = pyramid(torch.randn(1, 3, 64, 128))
        assert list(found) == ["0", "1", "2", "3", "pool"]
        assert [tuple(each.shape) for each in found.values()] == [(1, 8, 64 // s, 128 // s) for s in strides]


def test_a_trunk_is_a_resnet_s_first_three_stages() -> None:
    encoder = small("resnet18", 96, width=0.125, zero_init_last=False)
    trunk, levels = Trunk(encoder).eval(), Levels(encoder).eval()
    images = torch.randn(1, 3, 64, 96)
    assert torch.equal(trunk(images)["0"], levels(images)[2])
    assert torch.equal(trunk.head.eval()(trunk(images)["0"]), levels(images)[3])
    assert (trunk.out_channels, trunk.head_channels, trunk.strides) == (32, 64, (16,))
    with pytest.raises(ValueError, match="neck=c4 cuts a ResNet"):
        Trunk(small("vit_tiny_patch16_224", 32, embed_dim=16, depth=1, heads=2))


def test_pictures_are_normalised_as_pretraining_had_them() -> None:
    shown = Shown(small("resnet18", 96, width=0.125))
    picture = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    assert torch.allclose(shown(picture), (picture / 255 - mean) / std, atol=1e-5)


def test_networks_without_maps_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"need a convolutional network, a Swin, a plain vision transformer or BEiT's"):
        Levels(encoder_of(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3))))
