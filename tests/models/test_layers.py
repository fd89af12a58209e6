"""Maps of every kind of network: which there are, their sizes, and that they are what the network computes on its way."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from viewmill.models.backbone import backbone
from viewmill.models.layers import maps


def shapes(name: str, px: int) -> dict[str, tuple[int, ...]]:
    with torch.no_grad():
        return {layer: tuple(x.shape[1:]) for layer, x in maps(backbone(name, px)[0].eval(), torch.zeros(1, 3, px, px)).items()}


@pytest.mark.parametrize(("name", "px", "expected"), [
    ("resnet18", 224, {"stem": (64, 112, 112), "stage1": (64, 56, 56), "stage2": (128, 28, 28), "stage3": (256, 14, 14),
                       "stage4": (512, 7, 7)}),
    ("resnet50", 64, {"stem": (64, 64, 64), "stage1": (256, 64, 64), "stage2": (512, 32, 32), "stage3": (1024, 16, 16),
                      "stage4": (2048, 8, 8)}),
    ("vit_tiny_patch16_224", 224, {f"block{n}": (192, 14, 14) for n in (3, 6, 9, 12)}),
    ("convnet4", 32, {"conv1": (32, 16, 16), "conv2": (64, 8, 8), "conv3": (128, 4, 4), "conv4": (256, 2, 2)}),
    ("convnext_atto", 64, {"stage1": (40, 16, 16), "stage2": (80, 8, 8), "stage3": (160, 4, 4), "stage4": (320, 2, 2)}),
    ("swin_tiny_patch4_window7_224", 64, {"stage1": (96, 16, 16), "stage2": (192, 8, 8), "stage3": (384, 4, 4),
                                          "stage4": (768, 2, 2)}),  # which itself keeps channels last
    ("regnety_002", 32, {"stem": (32, 16, 16), "stage1": (24, 8, 8), "stage2": (56, 4, 4), "stage3": (152, 2, 2),
                         "stage4": (368, 1, 1)}),
])
def test_each_kind_of_network_has_its_layers(name: str, px: int, expected: dict[str, tuple[int, ...]]) -> None:
    assert shapes(name, px) == expected


@pytest.mark.parametrize(("depth", "blocks"), [(1, [1]), (2, [2]), (4, [1, 4]), (5, [2, 5]), (6, [3, 6])])
def test_every_third_block_is_counted_back_from_the_last(depth: int, blocks: list[int]) -> None:
    module, _ = backbone("vit_tiny_patch16_224", 32, patch_px=16, embed_dim=12, depth=depth, heads=2)
    assert list(maps(module, torch.zeros(1, 3, 32, 32))) == [f"block{n}" for n in blocks]


def test_maps_of_a_vision_transformer_are_its_blocks_patches_in_their_places() -> None:
    torch.manual_seed(0)
    module, _ = backbone("vit_tiny_patch16_224", 48, embed_dim=24, depth=12, heads=3)
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        found = maps(module.eval(), images)
        x = torch.cat([module.cls_token.expand(2, -1, -1), module.patch_embed(images)], 1) + module.pos_embed
        for number, block in enumerate(module.blocks, 1):
            x = block(x)
            if number % 3 == 0:
                patches = x[:, 1:]  # row by row, after the class token
                torch.testing.assert_close(found[f"block{number}"], patches.transpose(1, 2).reshape(2, 24, 3, 3))
    assert len(found) == 4


def test_maps_of_a_resnet_are_its_stages() -> None:
    module, _ = backbone("resnet18", 96)
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        found = maps(module.eval(), images)
        stem = module.act1(module.bn1(module.conv1(images)))
        assert torch.equal(found["stem"], stem)
        first = module.layer1(module.maxpool(stem))
        assert torch.equal(found["stage1"], first)
        assert torch.equal(found["stage4"], module.layer4(module.layer3(module.layer2(first))))


def test_the_mean_of_the_small_networks_last_map_is_its_feature() -> None:
    module, _ = backbone("convnet4", 24)
    images = torch.randn(2, 3, 24, 24)
    with torch.no_grad():
        found = maps(module.eval(), images)
        torch.testing.assert_close(found["conv4"].mean((2, 3)), module(images))
        assert torch.equal(found["conv1"], torch.relu(module.layers[1](module.layers[0](images))))


def test_a_network_without_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear shows no maps of its layers; use a network of timm's that does"):
        maps(nn.Linear(3, 2), torch.zeros(1, 3))
