"""RotNet's AlexNet: the sizes that its tables of layers rest on, its width and weights, and the least picture it takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from viewmill.models.alexnet import AlexNet
from viewmill.models.backbone import backbone


def test_maps_at_224_px_are_the_ones_whose_pooled_sizes_are_published() -> None:
    module, dim = backbone("alexnet", 224)
    with torch.no_grad():
        maps = module.eval().maps(torch.randn(1, 3, 224, 224))
        assert {name: tuple(x.shape[1:]) for name, x in maps.items()} == {
            "conv1": (64, 55, 55), "conv2": (192, 27, 27), "conv3": (384, 13, 13), "conv4": (256, 13, 13), "conv5": (256, 13, 13)}
        assert all(float(x.min()) == 0 for x in maps.values())  # after the ReLU
        # Pooled to 12, 7, 5, 6 and 6 places a side, RotNet's linear classifiers see so many values.
        sides = (12, 7, 5, 6, 6)
        assert [x.shape[1] * side**2 for x, side in zip(maps.values(), sides, strict=True)] == [9216, 9408, 9600, 9216, 9216]
        assert module(torch.randn(2, 3, 224, 224)).shape == (2, dim) == (2, 4096)


def test_layers_and_weights_are_those_of_the_authors_code() -> None:
    module = AlexNet()
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.padding[0], m.groups) for m in convolutions] == [
        (3, 64, 11, 4, 2, 1), (64, 192, 5, 1, 2, 1), (192, 384, 3, 1, 1, 1), (384, 256, 3, 1, 1, 1), (256, 256, 3, 1, 1, 1)]
    linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features, m.bias) for m in linear] == [(9216, 4096, None), (4096, 4096, None)]
    assert all(m.bias is not None for m in convolutions) and not any(isinstance(m, nn.Dropout) for m in module.modules())
    # Convolutions 2,469,696 with biases; fc6 and fc7 54,525,952; batch norms 2 (64 + 192 + 384 + 256 + 256 + 4096 + 4096).
    assert sum(p.numel() for p in module.parameters()) == 2_469_696 + 54_525_952 + 18_688


def test_the_features_are_the_fully_connected_layers_of_the_pooled_last_map() -> None:
    module = AlexNet(2, 63).eval()
    images = torch.randn(2, 2, 63, 63)
    with torch.no_grad():
        last = module.maps(images)["conv5"]
        assert last.shape == (2, 256, 3, 3)
        assert torch.equal(module(images), module.fc(last.amax((2, 3))))


def test_pictures_that_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="image size 32 px: backbone 'alexnet' needs at least 63 px; use another backbone"):
        backbone("alexnet", 32)
