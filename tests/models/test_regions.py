"""Regions of whatever backbone: as many as its last map has places, row by row, and the pooled features that it always had."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from viewmill.models.backbone import backbone
from viewmill.models.regions import regions_of
from viewmill.models.vit import features_of, open_to_sizes


def opened(name: str, image_px: int, **options: int) -> tuple[nn.Module, int]:
    torch.manual_seed(0)
    module, dim = backbone(name, image_px, **options)  # type: ignore[arg-type]
    open_to_sizes(module)
    return module.eval(), dim


BACKBONES = [
    ("convnet4", {}, 64, (3, 2)),  # of 48 x 32 px: a sixteenth
    ("resnet18", {}, 64, (6, 4)),  # with the stem of small images an eighth
    ("vit_tiny_patch16_224", {"patch_px": 8, "embed_dim": 24, "depth": 2, "heads": 3}, 64, (6, 4)),
    ("swin_tiny_patch4_window7_224", {"patch_px": 2, "embed_dim": 24, "window": 4}, 64, (3, 2)),
    ("test_convnext", {}, 64, (1, 1)),  # a thirty-second, rounded down
]


@pytest.mark.parametrize(("name", "options", "px", "grid"), BACKBONES)
def test_so_many_regions_and_the_features_of_all(name: str, options: dict[str, int], px: int, grid: tuple[int, int]) -> None:
    module, dim = opened(name, px, **options)
    images = torch.randn(2, 3, 48, 32)
    with torch.no_grad():
        regions, pooled = regions_of(module, images)
        assert torch.equal(pooled, features_of(module, images))
    assert regions.shape == (2, grid[0] * grid[1], dim) and pooled.shape == (2, dim)


@pytest.mark.parametrize(("name", "options"), [(name, options) for name, options, _, _ in BACKBONES[:4]])
def test_they_lie_row_by_row(name: str, options: dict[str, int]) -> None:
    """What is changed in the image's last corner moves the last region most, in the first row's end that row's last."""
    module, _ = opened(name, 64, **options)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = regions_of(module, images)[0][0]
        side = round(len(before) ** 0.5)
        for corner, place in (((0, -1), side - 1), ((-1, -1), side * side - 1), ((-1, 0), side * (side - 1))):
            changed = images.clone()
            rows, columns = (slice(0, 8) if at == 0 else slice(56, 64) for at in corner)
            changed[:, :, rows, columns] += 3
            moved = (regions_of(module, changed)[0][0] - before).norm(dim=1)
            assert int(moved.argmax()) == place


def test_a_networks_mean_over_regions_is_what_it_pools() -> None:
    for name, options, px, _ in (BACKBONES[0], BACKBONES[1], BACKBONES[3]):
        module, _ = opened(name, px, **options)
        with torch.no_grad():
            regions, pooled = regions_of(module, torch.randn(2, 3, 64, 64))
        torch.testing.assert_close(regions.mean(1), pooled)


def test_class_token_and_registers_are_no_regions() -> None:
    module, _ = opened("vit_tiny_patch16_224", 64, patch_px=16, embed_dim=24, depth=1, heads=3)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        regions, pooled = regions_of(module, images)
        module.cls_token += 1
        later = regions_of(module, images)
    assert regions.shape == (1, 16, 24) and not torch.equal(later[1], pooled)
    assert not any(torch.equal(pooled[0], region) for region in regions[0])


def test_networks_without_regions_as_wide_as_their_features_are_refused() -> None:
    alexnet, _ = backbone("alexnet", 64)
    with pytest.raises(ValueError, match="backbone AlexNet has no regions with features as wide as an image's; use for example"):
        regions_of(alexnet, torch.zeros(1, 3, 64, 64))
    wider, _ = backbone("mobilenetv3_small_050", 64)
    with pytest.raises(ValueError, match=r"backbone MobileNetV3 has no regions .*: \(4, 288\) beside 1024"), torch.no_grad():
        regions_of(wider.eval(), torch.zeros(1, 3, 64, 64))
    closed, _ = opened("swinv2_cr_tiny_224", 32)
    with pytest.raises(ValueError, match="backbone SwinTransformerV2Cr takes no views of 16 x 16 px"):
        regions_of(closed, torch.zeros(1, 3, 16, 16))
