"""Context Encoders' own network (Pathak et al. 2016, arXiv:1604.07379), and a light decoder of any network's map."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .adversary import begin_as_dcgan, dcgan_widths, halvings


class CodeEncoder(nn.Module):
    """Images (N, in_chans, image_px, image_px) to a code (N, dim): 4 x 4 convolutions of stride 2 down to 4 to 7 px, then one of
    that size; LeakyReLU 0.2 after each, and batch norm but in the first. No biases: the authors set them to 0 before every step.

    Source: pathak22/context-encoder, train.lua. Raises ValueError where the halvings do not divide image_px.
    """

    def __init__(self, in_chans: int, image_px: int, dim: int = 4000, width: int = 64) -> None:
        super().__init__()
        count, left_px = _steps(image_px)
        self.num_features = dim
        channels = [*dcgan_widths(count, width), dim]
        first = nn.Sequential(nn.Conv2d(in_chans, channels[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2))
        self.convolutions = nn.ModuleList([first])
        for number, (before, after) in enumerate(pairwise(channels), 1):
            form = (4, 2, 1) if number < count else (left_px, 1, 0)
            self.convolutions.append(nn.Sequential(
                nn.Conv2d(before, after, *form, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)))
        begin_as_dcgan(self)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for layer in self.convolutions:
            x = layer(x)
        return x.flatten(1)

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """conv1, conv2, ... after their activation; the last is the code, (N, dim, 1, 1)."""
        found: dict[str, Tensor] = {}
        x = images
        for number, layer in enumerate(self.convolutions, 1):
            x = found[f"conv{number}"] = layer(x)
        return found


def code_decoder(dim: int, out_px: int, out_chans: int = 3, width: int = 64) -> nn.Sequential:
    """A code (N, dim, 1, 1) to images (N, out_chans, out_px, out_px) in (-1, 1): the encoder mirrored, with ReLU. out_px as its
    image_px."""
    count, first_px = _steps(out_px)
    channels = dcgan_widths(count, width)[::-1]
    first = [nn.ConvTranspose2d(dim, channels[0], first_px, bias=False), nn.BatchNorm2d(channels[0]), nn.ReLU(inplace=True)]
    decoder = nn.Sequential(*first, *_up(channels, out_chans))
    begin_as_dcgan(decoder)
    return decoder


class MapDecoder(nn.Module):
    """A map (N, dim, rows, rows) to images (N, out_chans, out_px, out_px) in (-1, 1): a channel-wise fully connected layer, which
    brings each place what the others know, a 1 x 1 convolution, doublings as in `code_decoder`, and where they do not end at
    out_px a bilinear resize.

    As the paper describes its AlexNet form, whose code is not released: widths, norms and first weights are ours. Raises
    ValueError where rows is above out_px / 2.
    """

    def __init__(self, dim: int, rows: int, out_px: int, out_chans: int = 3, width: int = 64) -> None:
        super().__init__()
        if 2 * rows > out_px:
            raise ValueError(f"a decoder doubles its map at least once, got a map of {rows} x {rows} for {out_px} px; use a "
                             "backbone with a larger stride")
        channels = dcgan_widths(int(math.log2(out_px // rows)), width)[::-1]
        self.out_px = out_px
        self.across = nn.Parameter(torch.empty(dim, rows * rows, rows * rows))
        self.up = nn.Sequential(nn.Conv2d(dim, channels[0], 1, bias=False), nn.BatchNorm2d(channels[0]), nn.ReLU(inplace=True),
                                *_up(channels, out_chans))
        begin_as_dcgan(self.up)
        nn.init.uniform_(self.across, -1 / rows, 1 / rows)  # as a linear layer of rows * rows inputs begins

    def forward(self, map: Tensor) -> Tensor:
        n, dim, rows, columns = map.shape
        mixed = torch.einsum("ndp,dpq->ndq", map.flatten(2), self.across).view(n, dim, rows, columns)
        painted: Tensor = self.up(mixed)
        if painted.shape[-1] != self.out_px:
            painted = F.interpolate(painted, size=(self.out_px, self.out_px), mode="bilinear", align_corners=False)
        return painted


def _up(channels: list[int], out_chans: int) -> list[nn.Module]:
    """Transposed 4 x 4 convolutions, each doubling the side, from channels[0] through the others to out_chans."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return [*layers, nn.ConvTranspose2d(channels[-1], out_chans, 4, 2, 1, bias=False), nn.Tanh()]


def _steps(side_px: int) -> tuple[int, int]:
    """How often a side is halved, and the side that this leaves, 4 to 7 px."""
    count = halvings(side_px)
    left_px = side_px >> count
    if left_px << count != side_px:
        raise ValueError(f"image size {side_px} px: the authors' network halves it {count} times; use {left_px << count} or "
                         f"{left_px + 1 << count} px, or another model.backbone")
    return count, left_px
