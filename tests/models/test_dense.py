"""Features at each place: those of the whole image where the two can be compared, and every weight with a part in them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from viewmill.models.backbone import backbone
from viewmill.models.dense import dense

POOLED_FIRST = "vit_pwee_patch16_reg1_gap_256"
"""A vision transformer whose last norm comes behind the pool; it has one register."""


def seen(name: str, image_px: int, in_chans: int = 1) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    network, dim = backbone(name, image_px, in_chans)
    images = torch.randn(2, in_chans, image_px, image_px)
    found = dense(network.eval(), images)
    assert found.shape[:2] == (2, dim)
    return network, images, found


@pytest.mark.parametrize(("name", "image_px", "side"), [("convnet4", 36, 3), ("resnet18", 96, 3), ("resnet18", 32, 4)])
def test_a_convolutional_network_has_its_last_map_whose_mean_it_gives(name: str, image_px: int, side: int) -> None:
    network, images, found = seen(name, image_px)
    assert found.shape[2:] == (side, side)
    torch.testing.assert_close(found.mean((2, 3)), network(images), rtol=1e-4, atol=1e-5)


def test_a_vision_transformer_has_its_patches_row_by_row() -> None:
    network, images, found = seen("vit_tiny_patch16_224", 64)
    assert found.shape == (2, 192, 4, 4)
    tokens = network.forward_features(images)
    assert isinstance(tokens, torch.Tensor)
    torch.testing.assert_close(found[:, :, 1, 2], tokens[:, 1 + 1 * 4 + 2])  # behind the class token


def test_one_that_pools_before_its_last_norm_has_the_norm_on_each_patch() -> None:
    network, images, found = seen(POOLED_FIRST, 32)
    assert isinstance(network.norm, nn.Identity) and isinstance(network.fc_norm, nn.LayerNorm)
    tokens = network.forward_features(images)
    torch.testing.assert_close(found[:, :, 0, 1], network.fc_norm(tokens[:, 1 + 1]))


@pytest.mark.parametrize(("image_px", "side", "pooled"), [(180, 10, 4), (224, 13, 6)])
def test_the_middle_of_alexnets_is_what_it_says_of_the_whole_image(image_px: int, side: int, pooled: int) -> None:
    network, images, found = seen("alexnet", image_px)
    assert found.shape == (2, 4096, side, side)
    # pool5 keeps every second place, and fc6 reaches over all it keeps: from its middle those are the network's own.
    torch.testing.assert_close(found[:, :, pooled, pooled], network(images), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found[:, :, pooled, pooled], found[:, :, pooled, pooled + 1], atol=1e-3)


@pytest.mark.parametrize(("name", "image_px"), [("convnet4", 32), ("resnet18", 32), ("vit_tiny_patch16_224", 32),
                                                (POOLED_FIRST, 32), ("alexnet", 63), ("swin_tiny_patch4_window7_224", 56)])
def test_every_weight_learns(name: str, image_px: int) -> None:
    network, _ = backbone(name, image_px, 1)
    dense(network, torch.randn(3, 1, image_px, image_px)).square().mean().backward()
    assert [parameter for parameter, value in network.named_parameters() if value.grad is None] == []


def test_a_backbone_without_such_a_map_is_refused() -> None:
    network, _ = backbone("mobilenetv3_small_100", 64, 1)
    with pytest.raises(ValueError, match="has no regions with features as wide as an image's"):
        dense(network.eval(), torch.zeros(1, 1, 64, 64))
    network, _ = backbone("convnet4", 64, 1)
    with pytest.raises(ValueError, match="gives 8 regions, which are no square; use square images"):
        dense(network.eval(), torch.zeros(1, 1, 32, 64))
