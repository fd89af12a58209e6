"""Colours of figures: of amounts, of classes, of right and wrong."""

from __future__ import annotations

import colorsys

import torch
from torch import Tensor

INK, MUTED, UNKNOWN = "#1a1a1a", "#6b6b6b", "#b8b8b8"
"""Of text, of lesser text, and of what has no class."""

SAME, OTHER = "#0072b2", "#d55e00"
"""Blue and vermilion of Okabe and Ito, told apart by the colour-blind too."""

HEAT = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
"""Levels of the colours from least to most, evenly spaced, straight lines between; lightness rises throughout."""

CLASSES = ("#4e79a7", "#f28e2b", "#e15759", "#59a14f", "#b07aa1", "#76b7b2", "#9c755f", "#edc948", "#ff9da7", "#79706e")
"""Of up to ten classes, in lightness alike, so that none stands out."""

GOLDEN = 0.381966
"""Of a turn: hues so far apart stay spread, however many there are."""


def heat(values: Tensor) -> Tensor:
    """(..., H, W) in [0, 1] to colours (..., 3, H, W) in [0, 1]; what lies outside is clamped."""
    levels = torch.tensor(HEAT) / 255
    at = values.clamp(0, 1) * (len(HEAT) - 1)
    below = at.floor().long().clamp(max=len(HEAT) - 2)
    return torch.lerp(levels[below], levels[below + 1], (at - below)[..., None]).movedim(-1, -3)


def to_unit(values: Tensor) -> Tensor:
    """(..., H, W), each map from its own least value, 0, to its own largest, 1; a level one is 0."""
    low, high = values.amin((-2, -1), keepdim=True), values.amax((-2, -1), keepdim=True)
    return (values - low) / (high - low).clamp_min(1e-12)


def of_classes(count: int) -> list[str]:
    """A colour for each of `count` classes, as #rrggbb: CLASSES, or hues a golden section apart in three lightnesses."""
    if count <= len(CLASSES):
        return list(CLASSES[:count])
    found = []
    for number in range(count):
        red, green, blue = colorsys.hls_to_rgb((0.58 + number * GOLDEN) % 1, (0.45, 0.6, 0.33)[number % 3], 0.6)
        found.append("#" + "".join(f"{round(255 * part):02x}" for part in (red, green, blue)))
    return found
