"""AlexNet with fewer channels: half of them make one half of a Split-Brain Autoencoder (arXiv:1611.09842)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .alexnet import CONVOLUTIONS, AlexNet


class NarrowAlexNet(AlexNet):
    """`AlexNet` with `width` times the channels of every layer, fc6 and fc7 too: images (N, in_chans, image_px, image_px) to
    (N, width * 4096). Raises ValueError where no channel is left, and below 63 px."""

    def __init__(self, in_chans: int, image_px: int, width: float) -> None:
        with torch.device("meta"):  # every layer is made anew, and only shapes are taken over
            super().__init__(in_chans, image_px)
        if round(width * CONVOLUTIONS[0][0]) < 1:
            raise ValueError(f"a backbone needs a width that leaves at least 1 channel, got {width}")
        fc6: Any = self.fc[0]
        places = int(fc6.in_features) // CONVOLUTIONS[-1][0]
        before = in_chans
        for name, (channels, kernel, stride, padding) in zip(list(self.convolutions), CONVOLUTIONS, strict=True):
            narrow = round(width * channels)
            self.convolutions[name] = nn.Sequential(
                nn.Conv2d(before, narrow, kernel, stride, padding), nn.BatchNorm2d(narrow), nn.ReLU(inplace=True))
            before = narrow
        self.num_features = round(width * self.num_features)
        layers: list[nn.Module] = []
        for values in (before * places, self.num_features):
            layers += [nn.Linear(values, self.num_features, bias=False), nn.BatchNorm1d(self.num_features), nn.ReLU(inplace=True)]
        self.fc = nn.Sequential(*layers)
