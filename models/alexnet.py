"""AlexNet (Krizhevsky et al. 2012) as RotNet has it (arXiv:1803.07728): batch norm, one column, 64-192-384-256-256."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

LEAST_PX = 63  # the last pool then still has three rows
CONVOLUTIONS = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
"""Of conv1 .. conv5: channels, side of the kernel, stride, padding."""
POOLED = ("conv1", "conv2", "conv5")
"""After these, the largest of 3 x 3 at stride 2."""


class AlexNet(nn.Module):
    """images (N, in_chans, image_px, image_px) to features (N, 4096), those of fc7; at 224 px the map before fc6 is 6 x 6.

    Convolutions carry a bias and each layer a batch norm with gain and bias; there is no dropout. Weights begin as torch's.
    Raises ValueError below 63 px. Source: gidariss/FeatureLearningRotNet, architectures/AlexNet.py.
    """

    def __init__(self, in_chans: int = 3, image_px: int = 224) -> None:
        super().__init__()
        if image_px < LEAST_PX:
            raise ValueError(f"image size {image_px} px: backbone 'alexnet' needs at least {LEAST_PX} px; use another backbone, "
                             "for example convnet4 or resnet18")
        self.convolutions = nn.ModuleDict()
        self.pool = nn.MaxPool2d(3, 2)
        before, side = in_chans, image_px
        for number, (channels, kernel, stride, padding) in enumerate(CONVOLUTIONS, 1):
            self.convolutions[f"conv{number}"] = nn.Sequential(
                nn.Conv2d(before, channels, kernel, stride, padding), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
            before, side = channels, (side + 2 * padding - kernel) // stride + 1
            side = (side - 3) // 2 + 1 if f"conv{number}" in POOLED else side
        self.num_features = 4096
        self.fc = nn.Sequential(*_linear(before * side * side, 4096), *_linear(4096, 4096))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.fc(self.pool(self.maps(images)["conv5"]).flatten(1))
        return features

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """conv1 .. conv5 after their ReLU, before the pool: at 224 px (N, 64, 55, 55), (N, 192, 27, 27), (N, 384, 13, 13) and
        twice (N, 256, 13, 13)."""
        maps: dict[str, Tensor] = {}
        x = images
        for name, layer in self.convolutions.items():
            maps[name] = layer(x)
            x = self.pool(maps[name]) if name in POOLED else maps[name]
        return maps


def _linear(before: int, after: int) -> tuple[Any, ...]:
    return nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)
