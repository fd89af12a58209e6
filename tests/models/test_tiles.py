"""Networks of tiles: each tile by itself, whole pictures at the same scale, and the classifiers that stand on several tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from viewmill.models.alexnet import AlexNet
from viewmill.models.backbone import backbone, set_drop_path
from viewmill.models.layers import maps
from viewmill.models.tiles import Pieces, classifier, embed_tiles, tile_backbone, tiles_of

from .batches import batch_of, random_views


class Mean(nn.Module):
    """A tile's mean level of red, and of its top left pixel; maps of the red itself at half its side."""

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[2:] == (4, 4)
        return torch.stack([images[:, 0].mean((1, 2)), images[:, 0, 0, 0]], 1)

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        return {"red": images[:, :1, ::2, ::2]}


@pytest.mark.parametrize("name", ["convnet4", "resnet18", "vit_tiny_patch16_224"])
def test_tiles_go_through_the_network_in_one_pass_and_keep_their_places(name: str) -> None:
    torch.manual_seed(0)
    network, dim = tile_backbone(name, 32)
    network.eval()
    tiles, calls = random_views(3, 2, 32), []
    network.register_forward_hook(lambda module, inputs, output: calls.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        z = embed_tiles(network, tiles)
        assert calls == [(6, 3, 32, 32)] and z.shape == (3, 2, dim)
        for tile in range(3):
            torch.testing.assert_close(z[tile, 1], network(tiles[tile, 1:])[0], atol=1e-5, rtol=1e-4)


def test_a_picture_is_covered_by_tiles_whose_features_are_averaged() -> None:
    # 10 px by tiles of 4: at 0, 3 and 6; 4 px: at 0.
    picture = torch.arange(40.0).square().view(1, 1, 10, 4).repeat(1, 3, 1, 1)
    pieces = Pieces(Mean(), 4)
    rows = picture[0, 0].numpy()
    cut = [rows[top : top + 4] for top in (0, 3, 6)]
    expected = np.mean([[tile.mean(), tile[0, 0]] for tile in cut], 0)
    np.testing.assert_allclose(pieces(picture)[0].numpy(), expected)
    assert torch.equal(pieces(picture[:, :, :4]), Mean()(picture[:, :, :4]))  # of its own size: as it is


def test_maps_of_a_picture_lie_side_by_side_where_their_tiles_do() -> None:
    pictures = torch.arange(2 * 8 * 12.0).view(2, 1, 8, 12).repeat(1, 3, 1, 1)
    found = maps(Pieces(Mean(), 4), pictures)["red"]
    assert found.shape == (2, 1, 4, 6)
    # Tiles of 4 px fill 8 x 12 px without overlap, so every second pixel of the whole picture is there.
    assert torch.equal(found, pictures[:, :1, ::2, ::2])


@pytest.mark.parametrize(("name", "tile_px", "picture_px"), [
    ("convnet4", 16, 48), ("resnet18", 16, 66), ("alexnet", 64, 255), ("vit_tiny_patch16_224", 64, 255),
    ("swin_tiny_patch4_window7_224", 64, 255), ("convnext_atto", 64, 255)])
def test_every_network_takes_tiles_and_pictures_at_their_scale(name: str, tile_px: int, picture_px: int) -> None:
    network, dim = tile_backbone(name, tile_px)
    network.eval()
    with torch.no_grad():
        for side in (tile_px, picture_px):
            assert network(torch.zeros(2, 3, side, side)).shape == (2, dim)
        assert all(len(shown) == 2 for shown in maps(network, torch.zeros(2, 3, picture_px, picture_px)).values())


def test_a_network_of_one_size_is_itself_on_tiles_and_convolutions_are_not_wrapped() -> None:
    torch.manual_seed(0)
    vit = tile_backbone("vit_tiny_patch16_224", 32)[0].eval()
    assert isinstance(vit, Pieces) and not isinstance(tile_backbone("convnet4", 16)[0], Pieces)
    tile = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(vit(tile), vit.network(tile))
    set_drop_path(vit, 0.1)  # through the wrapping
    assert any("DropPath" in type(part).__name__ for part in vit.modules())


def test_a_resnet_keeps_the_stem_of_the_published_runs_on_their_tiles() -> None:
    def stride(tile_px: int) -> Any:
        return tile_backbone("resnet18", tile_px)[0].conv1.stride

    assert (stride(64), stride(40), stride(96), stride(32), stride(16)) == ((2, 2), (2, 2), (2, 2), (1, 1), (1, 1))
    with torch.no_grad():  # tiles of 64 px: maps of 2 x 2
        assert maps(tile_backbone("resnet18", 64)[0].eval(), torch.zeros(1, 3, 64, 64))["stage4"].shape == (1, 512, 2, 2)


def test_alexnet_on_tiles_is_the_context_free_networks() -> None:
    network, dim = tile_backbone("alexnet", 64)
    assert isinstance(network, Pieces) and isinstance(network.network, AlexNet) and dim == 1024
    with torch.no_grad():
        shown = maps(network.eval(), torch.zeros(1, 3, 64, 64))
    # (64 - 11) / 2 + 1 = 27, then pools of 3 at stride 2: 13 and 6.
    assert [tuple(x.shape[1:]) for x in shown.values()] == [(64, 27, 27), (192, 13, 13), (384, 6, 6), (256, 6, 6), (256, 6, 6)]
    assert [type(part).__name__ for part in network.network.fc] == ["Linear", "BatchNorm1d", "ReLU", "Dropout"]
    assert network.network.fc[0].weight.shape == (1024, 256 * 2 * 2)
    assert tile_backbone("alexnet", 39)[1] == 1024
    large, dim = tile_backbone("alexnet", 96)  # Context Prediction's: conv1 of stride 4
    assert isinstance(large, Pieces) and large.network.convolutions["conv1"][0].stride == (4, 4) and dim == 4096


def test_a_classifier_has_the_layers_and_norms_asked_for() -> None:
    head = classifier([6, 5, 4, 3], norms=("plain", "none"), dropout=0.5)
    assert [type(part).__name__ for part in head] == [
        "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert not head[1].affine and all(part.bias is not None for part in head if isinstance(part, nn.Linear))
    affine = classifier([6, 5, 3], norms=("affine",))
    assert affine[1].affine and affine[0].bias is None and len(affine) == 4
    assert [tuple(part.weight.shape) for part in classifier([6, 3], norms=())] == [(3, 6)]
    x = torch.randn(7, 6)
    affine.eval()
    hidden = (x @ affine[0].weight.T) / (1 + affine[1].eps) ** 0.5
    torch.testing.assert_close(affine(x), hidden.clamp(min=0) @ affine[3].weight.T + affine[3].bias)


def test_what_does_not_fit_is_refused() -> None:
    batch = batch_of(patch=random_views(4, 2, 16))
    assert tiles_of(batch, "patch", 4, "some", "other") is batch.views["patch"]
    with pytest.raises(ValueError, match="some needs 9 tiles in the group 'patch', the recipe has 4; use recipe=other"):
        tiles_of(batch, "patch", 9, "some", "other")
    with pytest.raises(ValueError, match="some needs 9 tiles in the group 'tile', the recipe has none; use recipe=other"):
        tiles_of(batch, "tile", 9, "some", "other")
    with pytest.raises(ValueError, match="a network of tiles of 32 px takes pictures from 32 px on, got 16 x 16"):
        tile_backbone("vit_tiny_patch16_224", 32)[0](torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match="tiles of 38 px: backbone 'alexnet' needs at least 39 px"):
        tile_backbone("alexnet", 38)
    with pytest.raises(ValueError, match="cuts patches of 16 px, which do not divide it"):
        tile_backbone("vit_tiny_patch16_224", 75)
    assert backbone("convnet4", 16)[1] == tile_backbone("convnet4", 16)[1]
