"""A published recipe with where it comes from, and the pieces that many papers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..ops import Blur, CenterCrop, Crop, Grayscale, Jitter, Normalize, Op, Resize
from ..ops.normalize import IMAGENET_MEAN, IMAGENET_STD
from ..recipe import Recipe

IMAGENET = Normalize(kind="mean-std", mean=IMAGENET_MEAN, std=IMAGENET_STD, space="unit")
"""The normalization of torchvision's ImageNet models."""

UNIT = Normalize(kind="none")
"""Values stay in [0, 1]."""

SIGNED = Normalize(kind="range", range=(-1.0, 1.0))
"""[0, 1] mapped onto [-1, 1]."""


BICUBIC_FLIP = "flip 0.5, antialiased, cubic_a -0.5: torchvision on Pillow, where the sources are silent"
"""The note of masked methods, whose sources name the filter and no more."""


@dataclass(frozen=True)
class Preset:
    """recipe: its name is the preset's; source: paper and code; note: what the sources left open and was decided."""

    recipe: Recipe
    source: str
    note: str = ""


# torchvision's transforms on Pillow images: antialiased, Pillow's bicubic of -0.5.

def bilinear_crop(size_px: int, scale: tuple[float, float] = (0.08, 1.0), **more: Any) -> Crop:
    """RandomResizedCrop with its default filter."""
    return Crop(size_px=size_px, scale=scale, filter="bilinear", antialias=True, **more)


def bicubic_crop(size_px: int, scale: tuple[float, float] = (0.08, 1.0), **more: Any) -> Crop:
    """RandomResizedCrop with the bicubic filter."""
    return Crop(size_px=size_px, scale=scale, filter="bicubic", antialias=True, cubic_a=-0.5, **more)


def lanczos_crop(size_px: int, **more: Any) -> Crop:
    return Crop(size_px=size_px, filter="lanczos", antialias=True, **more)


def center_square(size_px: int, **more: Any) -> Crop:
    """The whole of a square picture, of others the central square, resized."""
    return Crop(size_px=size_px, scale=(1.0, 1.0), ratio=(1.0, 1.0), attempts=1, filter="bilinear", antialias=True, **more)


def short_side(side_px: int) -> Resize:
    return Resize(mode="short-side", side_px=side_px, filter="bilinear", antialias=True)


def center_of(side_px: int, size_px: int) -> tuple[Op, Op]:
    """The short side resized, the middle kept."""
    return short_side(side_px), CenterCrop(size_px=size_px)


JITTER = Jitter(p=0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue_turns=0.1)
"""The strengths of BYOL, in torchvision's laws: Barlow Twins, VICReg, MoCo v3, DINO and what came of it."""

STRONG_JITTER = Jitter(p=0.8, brightness=0.8, contrast=0.8, saturation=0.8, hue_turns=0.2)
"""The strengths of SimCLR, in torchvision's laws: SwAV, DeepCluster-v2."""

GRAY = Grayscale(p=0.2)


def pillow_blur(p: float) -> Blur:
    return Blur(p=p, kind="pillow", sigma_px=(0.1, 2.0))
