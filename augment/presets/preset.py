"""A published recipe with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from ..ops import Normalize
from ..ops.normalize import IMAGENET_MEAN, IMAGENET_STD
from ..recipe import Recipe

IMAGENET = Normalize(kind="mean-std", mean=IMAGENET_MEAN, std=IMAGENET_STD, space="unit")
"""The normalization of torchvision's ImageNet models."""

UNIT = Normalize(kind="none")
"""Values stay in [0, 1]."""


@dataclass(frozen=True)
class Preset:
    """recipe: its name is the preset's; source: paper and code; note: what the sources left open and was decided."""

    recipe: Recipe
    source: str
    note: str = ""
