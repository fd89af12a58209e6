"""AlexNet at half its width: every layer's channels, and an AlexNet to whatever asks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from viewmill.models.alexnet import AlexNet
from viewmill.models.narrow_alexnet import NarrowAlexNet


def test_every_layer_has_half_the_channels() -> None:
    network = NarrowAlexNet(2, 180, 0.5)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [tuple(m.weight.shape) for m in convolutions] == [
        (32, 2, 11, 11), (96, 32, 5, 5), (192, 96, 3, 3), (128, 192, 3, 3), (128, 128, 3, 3)]
    assert [tuple(m.weight.shape) for m in network.modules() if isinstance(m, nn.Linear)] == [(2048, 128 * 16), (2048, 2048)]
    assert network.num_features == 2048 and isinstance(network, AlexNet)
    assert all(value.device.type == "cpu" for value in network.state_dict().values())
    assert network(torch.randn(2, 2, 180, 180)).shape == (2, 2048)


def test_of_width_1_it_is_alexnet_itself() -> None:
    narrow, network = NarrowAlexNet(3, 63, 1.0).eval(), AlexNet(3, 63).eval()
    network.load_state_dict(narrow.state_dict())
    images = torch.randn(2, 3, 63, 63)
    torch.testing.assert_close(network(images), narrow(images))


def test_what_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a width that leaves at least 1 channel, got 0\.001"):
        NarrowAlexNet(1, 64, 0.001)
    with pytest.raises(ValueError, match="image size 32 px: backbone 'alexnet' needs at least 63 px"):
        NarrowAlexNet(1, 32, 0.5)
