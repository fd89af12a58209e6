"""Up-convolutions: how large their pictures get, and what they are made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from viewmill.models.decoders import upconv


@pytest.mark.parametrize(("doublings", "side"), [(0, 3), (1, 6), (3, 24)])
def test_each_doubling_doubles_both_sides(doublings: int, side: int) -> None:
    network = upconv(7, 5, doublings=doublings, width=4)
    assert network(torch.randn(2, 7, 3, 3)).shape == (2, 5, side, side)
    kinds = [type(layer) for layer in network]
    assert kinds == [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU] * doublings + [nn.Conv2d]
    assert all(layer.kernel_size == (4, 4) for layer in network if isinstance(layer, nn.ConvTranspose2d))


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="doublings >= 0 and widths >= 1, got -1 and 7, 4, 5"):
        upconv(7, 5, doublings=-1, width=4)
    with pytest.raises(ValueError, match="got 1 and 7, 0, 5"):
        upconv(7, 5, doublings=1, width=0)
