"""What a network says of each place: a transformer's patches as its own blocks give them, other networks' maps."""

from __future__ import annotations

import pytest
import torch
from viewmill.models.backbone import backbone
from viewmill.models.layers import maps
from viewmill.models.patch_maps import patch_map
from viewmill.models.vit import open_to_sizes

torch.manual_seed(0)
VIT = backbone("vit_tiny_patch16_224", 32, patch_px=8, embed_dim=24, depth=2, heads=2)[0].eval()
open_to_sizes(VIT)
IMAGES = torch.rand(2, 3, 32, 32)


@torch.no_grad()
def test_patches_of_a_transformer_are_timms_tokens_in_rows_and_columns() -> None:
    found = patch_map(VIT, IMAGES)
    tokens = VIT.forward_features(IMAGES)[:, 1:]  # timm's own, without the class token
    assert found.shape == (2, 4, 4, 24)
    torch.testing.assert_close(found[:, 1, 2], tokens[:, 1 * 4 + 2])
    assert patch_map(VIT, torch.rand(1, 3, 48, 40)).shape == (1, 6, 5, 24)


@torch.no_grad()
def test_other_networks_and_named_layers_give_maps() -> None:
    convnet = backbone("convnet4", 32)[0].eval()
    known = maps(convnet, IMAGES)
    last = list(known)[-1]
    torch.testing.assert_close(patch_map(convnet, IMAGES)[1, 0, 1], known[last][1, :, 0, 1])
    torch.testing.assert_close(patch_map(convnet, IMAGES, "conv2")[0, 3, 5], known["conv2"][0, :, 3, 5])
    assert patch_map(VIT, IMAGES, "block2").shape == (2, 4, 4, 24)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layer=conv9: the network has conv1, conv2"):
        patch_map(backbone("convnet4", 32)[0], IMAGES, "conv9")
    with pytest.raises(ValueError, match="layer=block2 goes with images of the network's own size alone, not with 48 x 48 px"):
        patch_map(VIT, torch.rand(1, 3, 48, 48), "block2")
    with pytest.raises(ValueError, match="takes no views of 30 x 30 px"):
        patch_map(VIT, torch.rand(1, 3, 30, 30))
