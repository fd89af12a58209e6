"""Backbones: their stems, their sizes, and what they refuse."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import DropPath
from torch import nn
from viewmill.models.backbone import backbone, set_drop_path, set_even_drop_path, set_layer_scale, transformer_blocks


@pytest.mark.parametrize("name", ["resnet18", "test_resnet", "resnet26d"])
def test_small_images_keep_their_resolution_through_a_resnets_stem(name: str) -> None:
    module, dim = backbone(name, 32)
    assert isinstance(module.conv1, nn.Conv2d) and isinstance(module.maxpool, nn.Identity)
    assert (module.conv1.kernel_size, module.conv1.stride, module.conv1.bias) == ((3, 3), (1, 1), None)
    assert module.act1(module.bn1(module.conv1(torch.zeros(2, 3, 32, 32)))).shape[2:] == (32, 32)
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, dim)


@pytest.mark.parametrize(("px", "stem"), [(64, (3, 3)), (65, (7, 7))])
def test_the_stem_of_a_resnet_changes_at_64_px(px: int, stem: tuple[int, int]) -> None:
    assert backbone("resnet18", px)[0].conv1.kernel_size == stem


def test_the_last_gain_of_each_resnet_block_begins_at_zero() -> None:
    assert all(float(block.bn2.weight.detach().abs().sum()) == 0 for block in backbone("resnet18", 32)[0].layer1)


@pytest.mark.parametrize(("name", "px", "chans"), [
    ("convnet4", 64, 3), ("convnet4", 20, 1), ("test_vit", 48, 3), ("test_convnext", 48, 4), ("test_resnet", 20, 1)])
def test_features_have_the_width_that_is_promised(name: str, px: int, chans: int) -> None:
    module, dim = backbone(name, px, chans)
    assert module.training and module.eval()(torch.zeros(2, chans, px, px)).shape == (2, dim)


def test_the_small_network_has_the_size_it_claims() -> None:
    module, dim = backbone("convnet4", 64)
    assert dim == 256 and sum(p.numel() for p in module.parameters()) == 9 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256) + 2 * 480


def test_a_vision_transformer_takes_other_sizes() -> None:
    module, dim = backbone("vit_tiny_patch16_224", 32, patch_px=4, embed_dim=24, depth=2, heads=3)
    assert dim == 24 and len(module.blocks) == 2 and module.blocks[0].attn.num_heads == 3
    assert module.patch_embed.grid_size == (8, 8) and module(torch.zeros(2, 3, 32, 32)).shape == (2, 24)


@pytest.mark.parametrize(("name", "px", "more", "message"), [
    ("resnet188", 32, {}, "unknown backbone 'resnet188'; did you mean 'resnet18'?"),
    ("convnet", 32, {}, "did you mean 'convnet4'?"),
    ("vit_tiny_patch16_224", 100, {}, "image size 100 px: backbone 'vit_tiny_patch16_224' cuts patches of 16 px, "
                                      "which do not divide it; use 96 or 112 px"),
    ("vit_tiny_patch16_224", 8, {}, "cuts patches of 16 px, which do not divide it; use 16 px"),
    ("vit_tiny_patch16_224", 30, {"patch_px": 4}, "patches of 4 px, which do not divide it; use 28 or 32 px"),
    ("resnet18", 32, {"patch_px": 4}, "backbone 'resnet18' takes no patch_px"),
    ("convnet4", 32, {"depth": 4}, "backbone 'convnet4' takes no patch_px"),
    ("vit_tiny_patch16_224", 32, {"embed_dim": 10, "heads": 3}, "embed_dim=10 needs to be a multiple of heads=3"),
    ("vit_tiny_patch16_224", 32, {"embed_dim": 10}, "cannot be built for image_px=32"),
    ("resnet18", 0, {}, "image_px and in_chans of at least 1, got 0 and 3"),
    ("inception_v3", 20, {}, "image size 20 px: backbone 'inception_v3' rejects it"),
])
def test_what_does_not_fit_is_one_line_with_the_way_out(name: str, px: int, more: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        backbone(name, px, **more)  # type: ignore[arg-type]
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_transformer_blocks() -> None:
    blocks = transformer_blocks(16, 2, 4)
    assert len(blocks) == 2 and blocks[0].norm1.eps == 1e-6 and blocks(torch.zeros(1, 3, 16)).shape == (1, 3, 16)
    with pytest.raises(ValueError, match="a width that heads divides, got width 16, depth 1, heads 3"):
        transformer_blocks(16, 1, 3)


def test_the_last_gain_begins_at_one_where_asked_for() -> None:
    for name, last in (("resnet18", "bn2"), ("resnet50", "bn3")):
        for wanted, value in ((False, 1.0), (True, 0.0), (None, 0.0)):
            module, _ = backbone(name, 32, zero_init_last=wanted)
            assert all((getattr(block, last).weight == value).all() for block in module.layer2)
    for name in ("convnet4", "test_vit"):
        with pytest.raises(ValueError, match=f"backbone '{name}' takes no zero_init_last; it is for ResNets"):
            backbone(name, 32, zero_init_last=True)


def test_the_width_is_what_comes_out_where_a_network_keeps_a_head_of_its_own() -> None:
    module, dim = backbone("mobilenetv3_small_050", 32)  # its num_features is 288
    assert module.training and module.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, dim) == (2, 1024)


@pytest.mark.parametrize(("name", "px", "nearest"), [
    ("mixer_s32_224", 100, "96 or 128 px"), ("beit_base_patch16_224", 100, "96 or 112 px")])
def test_an_edge_is_never_cut_off_unsaid(name: str, px: int, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"image size {px} px: backbone '{name}' cuts patches of .*; use {nearest}"):
        backbone(name, px)


def test_where_a_network_cannot_even_be_built_its_own_size_is_named() -> None:
    with pytest.raises(ValueError, match="cannot be built for image_px=100: AssertionError; its own size is 224 px"):
        backbone("vit_tiny_r_s16_p8_224", 100)


def rates(module: nn.Module) -> list[float]:
    return [m.drop_prob for m in module.modules() if isinstance(m, DropPath)]


@pytest.mark.parametrize(("name", "blocks", "each"), [
    ("resnet18", 8, 1), ("vit_tiny_patch16_224", 12, 2), ("swin_tiny_patch4_window7_224", 12, 2), ("test_convnext", 9, 1)])
def test_drop_path_grows_over_the_blocks(name: str, blocks: int, each: int) -> None:
    module, _ = backbone(name, 224)
    names, weights = list(module.state_dict()), sum(p.numel() for p in module.parameters())
    assert rates(module) == [] or name.startswith("swin")  # timm gives a Swin 0.1 unasked
    set_drop_path(module, 0.3)
    # The first block has a rate of 0, which is no drop path at all.
    assert rates(module) == pytest.approx([0.3 * i / (blocks - 1) for i in range(1, blocks) for _ in range(each)])
    set_drop_path(module, 0.1)
    assert len(rates(module)) == each * (blocks - 1) and max(rates(module)) == pytest.approx(0.1)
    set_drop_path(module, 0)
    assert rates(module) == []
    assert list(module.state_dict()) == names and sum(p.numel() for p in module.parameters()) == weights


@pytest.mark.parametrize("name", ["test_vit", "resnet18"])
def test_drop_path_may_be_even(name: str) -> None:
    module, _ = backbone(name, 32)
    names, places = list(module.state_dict()), len(module.blocks) * 2 if name == "test_vit" else 8
    for rate in (0.3, 0.1):
        set_even_drop_path(module, rate)
        assert rates(module) == [rate] * places
    set_even_drop_path(module, 0)
    assert rates(module) == [] and list(module.state_dict()) == names


@pytest.mark.parametrize("name", ["resnet18", "test_vit"])
def test_drop_path_leaves_branches_out_in_training_alone(name: str) -> None:
    torch.manual_seed(0)
    module, _ = backbone(name, 32, zero_init_last=False if name == "resnet18" else None)
    images = torch.randn(1, 3, 32, 32).expand(8, -1, -1, -1)
    plain, weights = module.eval()(images), copy.deepcopy(module.state_dict())
    set_drop_path(module, 0.5)
    assert torch.equal(module(images), plain)
    module.train()
    assert len({tuple(row) for row in module(images).tolist()}) > 1  # equal images, each with branches of its own left out
    set_drop_path(module, 0)
    module.load_state_dict(weights)
    assert torch.equal(module.eval()(images), plain)


def test_what_has_no_place_for_drop_path_is_refused() -> None:
    for module in (backbone("convnet4", 32)[0], backbone("vgg11", 32)[0]):
        with pytest.raises(ValueError, match=f"{type(module).__name__} has no residual branches that drop path could leave out"):
            set_drop_path(module, 0.1)
    for rate in (-0.1, 1.0):
        with pytest.raises(ValueError, match=rf"drop path needs a rate in \[0, 1\), got {rate}"):
            set_drop_path(backbone("test_vit", 32)[0], rate)


def test_a_resnet_of_half_the_width_is_that_of_cmc() -> None:
    # HobbitLong/CMC, models/resnet.py, width 0.5: a stem of 64 as ever, then bottlenecks of 32, 64, 128, 256, four times as wide.
    module, dim = backbone("resnet50", 224, 1, width=0.5)
    assert dim == 1024 and module.conv1.weight.shape == (64, 1, 7, 7)
    assert [stage[0].conv2.weight.shape[0] for stage in (module.layer1, module.layer2, module.layer3, module.layer4)] == [
        32, 64, 128, 256]
    assert backbone("resnet18", 32, 2, width=0.5)[0].eval()(torch.zeros(2, 2, 32, 32)).shape == (2, 256)
    assert backbone("convnet4", 32, 2, width=0.5)[0].eval()(torch.zeros(2, 2, 32, 32)).shape == (2, 128)


@pytest.mark.parametrize("name", ["alexnet", "vit_tiny_patch16_224"])
def test_a_width_of_other_networks_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"^backbone '{name}' takes no width; it is for ResNets and convnet4$"):
        backbone(name, 224, width=0.5)
    with pytest.raises(ValueError, match=r"needs a width that leaves at least 1 channel, got 0\.001"):
        backbone("convnet4", 32, width=0.001)


def test_layer_scale_gives_each_branch_of_a_block_a_gain_for_each_channel() -> None:
    torch.manual_seed(0)
    blocks, x = transformer_blocks(12, 2, 3), torch.randn(2, 5, 12)
    plain = copy.deepcopy(blocks)
    set_layer_scale(blocks, 0.25)
    assert sum(p.numel() for p in blocks.parameters()) == sum(p.numel() for p in plain.parameters()) + 2 * 2 * 12
    for block, same in zip(blocks, plain, strict=True):
        mixed = x + 0.25 * same.attn(same.norm1(x))
        torch.testing.assert_close(block(x), mixed + 0.25 * same.mlp(same.norm2(mixed)))
    with pytest.raises(ValueError, match="layer scale needs a gain above 0, got 0"):
        set_layer_scale(blocks, 0)
