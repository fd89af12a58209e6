"""Context Encoders' networks: the authors' layers, and a decoder of any map."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from viewmill.models.encoder_decoder import CodeEncoder, MapDecoder, code_decoder

CONVOLUTIONS = nn.Conv2d | nn.ConvTranspose2d


def channels(network: nn.Module) -> list[int]:
    return [layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]


def test_the_published_encoder_and_decoders() -> None:
    """netE and netG of train.lua (the middle of 128 px), and of train_random.lua (all of 128 or 64 px)."""
    encoder = CodeEncoder(3, 128).eval()
    assert channels(encoder) == [64, 64, 128, 256, 512, 4000] and channels(CodeEncoder(3, 64)) == [64, 128, 256, 512, 4000]
    images = torch.randn(2, 3, 128, 128)
    assert encoder(images).shape == (2, 4000)
    maps = encoder.maps(images)
    assert [tuple(each.shape[1:]) for each in maps.values()] == [
        (64, 64, 64), (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (4000, 1, 1)]
    assert torch.equal(maps["conv6"].flatten(1), encoder(images))
    norms = [layer.num_features for layer in encoder.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms == [64, 128, 256, 512, 4000]  # all but the first
    assert channels(code_decoder(4000, 64)) == [512, 256, 128, 64, 3]
    assert channels(code_decoder(4000, 128)) == [512, 256, 128, 64, 64, 3]
    for network in (encoder, code_decoder(8, 64)):
        layers = [layer for layer in network.modules() if isinstance(layer, CONVOLUTIONS)]
        assert all(layer.kernel_size == (4, 4) and layer.bias is None for layer in layers)


@pytest.mark.parametrize("side", [8, 16, 64, 112, 224])
def test_sides_of_4_to_7_px_times_a_power_of_two(side: int) -> None:
    code = CodeEncoder(3, side, 16, 4)(torch.randn(2, 3, side, side))
    painted = code_decoder(16, side, 3, 4)(code[:, :, None, None])
    assert painted.shape == (2, 3, side, side) and float(painted.detach().abs().max()) < 1


@pytest.mark.parametrize("side", [33, 100])
def test_other_sides_are_refused(side: int) -> None:
    nearest = {33: "32 or 40 px", 100: "96 or 112 px"}[side]
    for build in (lambda: CodeEncoder(3, side), lambda: code_decoder(8, side)):
        with pytest.raises(ValueError, match=f"image size {side} px: the authors' network halves it . times; use {nearest}"):
            build()


@pytest.mark.parametrize(("rows", "out_px", "widths"), [
    (2, 32, [32, 16, 8, 4]), (6, 227, [32, 16, 8, 4, 4]), (16, 224, [16, 8, 4])])
def test_a_decoder_doubles_a_map_and_resizes_the_rest(rows: int, out_px: int, widths: list[int]) -> None:
    decoder = MapDecoder(5, rows, out_px, 3, 4)
    assert channels(decoder) == [widths[0], *widths[1:], 3]
    painted = decoder(torch.randn(2, 5, rows, rows))
    assert painted.shape == (2, 3, out_px, out_px) and float(painted.detach().abs().max()) < 1


def test_each_channel_of_a_map_is_connected_with_itself_alone() -> None:
    decoder, seen = MapDecoder(3, 2, 8, 3, 4), torch.zeros(1, 3, 2, 2, requires_grad=True)
    mixed = torch.einsum("ndp,dpq->ndq", seen.flatten(2), decoder.across)
    given: list[torch.Tensor] = []
    decoder.up[0].register_forward_hook(lambda module, inputs, output: given.append(inputs[0]))
    decoder.eval()(seen)
    for channel in range(3):
        (gradient,) = torch.autograd.grad(given[0][0, channel, 0, 1], seen, retain_graph=True)
        # Place (0, 1), the second of four, sees every place of its own channel, and no other channel.
        torch.testing.assert_close(gradient[0, channel].flatten(), decoder.across[channel, :, 1])
        assert float(gradient[0, [c for c in range(3) if c != channel]].abs().sum()) == 0
    assert mixed.shape == (1, 3, 4)


def test_a_map_as_large_as_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="a decoder doubles its map at least once, got a map of 5 x 5 for 8 px"):
        MapDecoder(3, 5, 8)
