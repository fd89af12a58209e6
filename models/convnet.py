"""A four-layer convolutional network, small enough to learn from scratch on a laptop in minutes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (32, 64, 128, 256)


class ConvNet4(nn.Module):
    """images (N, in_chans, H, W) to features (N, width): four times 3x3 convolution of stride 2, BN, ReLU; mean over space.

    Strides instead of pooling: the first layer runs at half the side, so a 64 px image costs 15 million multiplications.
    Channels last inside, whatever comes in: on two AVX2 cores forward and backward then take 3/4 of the time.
    """

    def __init__(self, in_chans: int = 3, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((in_chans, *widths), widths, strict=False):
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            nn.init.kaiming_normal_(layers[-3].weight, mode="fan_out", nonlinearity="relu")  # type: ignore[arg-type]
        self.layers = nn.Sequential(*layers)
        self.num_features = widths[-1]
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """The last map, (N, width, H / 16, W / 16), sides rounded up; under timm's name for it, as is the next."""
        maps: Tensor = self.layers(images.contiguous(memory_format=torch.channels_last))
        return maps

    def forward_head(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3))

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """conv1 .. conv4 after their ReLU: (N, 32, H / 2, W / 2) to (N, 256, H / 16, W / 16), sides rounded up."""
        maps: dict[str, Tensor] = {}
        x = images.contiguous(memory_format=torch.channels_last)
        for number in range(4):
            x = self.layers[3 * number : 3 * number + 3](x)
            maps[f"conv{number + 1}"] = x
        return maps
