"""DALL-E's encoder (Ramesh et al. 2021, arXiv:2102.12092): pictures to one of 8192 codes for each 8 x 8 pixels.

Modules and names are those of openai/DALL-E, dall_e/encoder.py, so that a state dict of it fits as it is; without its half
precision on CUDA, by which a few codes differ from device to device.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS, BLOCKS = 4, 2
"""Groups of residual blocks, each but the last followed by a pool, and blocks in each."""

STRIDE = 2 ** (GROUPS - 1)


class Conv(nn.Module):
    """A convolution of an odd side that keeps the picture's size; its weights are called w and b."""

    def __init__(self, before: int, after: int, side: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(after, before, side, side) / math.sqrt(before * side * side))
        self.b = nn.Parameter(torch.zeros(after))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.w, self.b, padding=self.w.shape[2] // 2)


class Block(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        inside = after // 4
        self.id_path = Conv(before, after, 1) if before != after else nn.Identity()
        self.res_path = nn.Sequential(OrderedDict([
            ("relu_1", nn.ReLU()), ("conv_1", Conv(before, inside, 3)),
            ("relu_2", nn.ReLU()), ("conv_2", Conv(inside, inside, 3)),
            ("relu_3", nn.ReLU()), ("conv_3", Conv(inside, inside, 3)),
            ("relu_4", nn.ReLU()), ("conv_4", Conv(inside, after, 1)),
        ]))

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.id_path(x) + self.res_path(x) / (GROUPS * BLOCKS) ** 2
        return added


class DalleEncoder(nn.Module):
    """images (N, 3, H, W), values in [0.1, 0.9], to logits (N, K, H / 8, W / 8). width: channels of the first group."""

    def __init__(self, width: int = 256, vocabulary: int = 8192) -> None:
        super().__init__()
        self.vocabulary, before = vocabulary, width
        groups: list[tuple[str, nn.Module]] = []
        for group in range(GROUPS):
            after = width * 2**group
            parts: list[tuple[str, nn.Module]] = []
            for block in range(BLOCKS):
                parts.append((f"block_{block + 1}", Block(before, after)))
                before = after
            if group + 1 < GROUPS:
                parts.append(("pool", nn.MaxPool2d(2)))
            groups.append((f"group_{group + 1}", nn.Sequential(OrderedDict(parts))))
        output = nn.Sequential(OrderedDict([("relu", nn.ReLU()), ("conv", Conv(before, vocabulary, 1))]))
        self.blocks = nn.Sequential(OrderedDict([("input", Conv(3, width, 7)), *groups, ("output", output)]))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.blocks(images)
        return logits

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> DalleEncoder:
        """Of the sizes that weights of these names have, not yet with them. Raises KeyError where one that tells is missing."""
        return cls(len(weights["blocks.input.w"]), len(weights["blocks.output.conv.w"]))
