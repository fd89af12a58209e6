"""Lab values of views as pictures to look at."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..augment.colour.lab import lab_to_rgb

MIDDLE_L = 50.0
"""What recipes take from lightness."""


def lab_pictures(lightness: Tensor, ab: Tensor, side_px: int) -> Tensor:
    """L (N, 1, h, h) and a and b (N, 2, k, k), each of any size, to red, green and blue (N, 3, side_px, side_px) in [0, 1]; both
    are brought to that size bilinearly. Colours that no screen shows are clamped."""
    size = (side_px, side_px)
    planes = [F.interpolate(x.float(), size, mode="bilinear", align_corners=False) for x in (lightness, ab)]
    return lab_to_rgb(torch.cat(planes, 1)) / 255
