"""DINO (Caron et al. 2021, arXiv:2104.14294): two global and eight local crops."""

from __future__ import annotations

from ..ops import Blur, Crop, Flip, Grayscale, Jitter, Op, Solarize
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset


def _view(group: str, size_px: int, scale: tuple[float, float], blur_p: float, *more: Op, count: int = 1) -> View:
    return View(group=group, count=count, size_px=size_px, ops=(
        Crop(size_px=size_px, scale=scale, filter="bicubic", antialias=True, cubic_a=-0.5),
        Flip(p=0.5),
        Jitter(p=0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue_turns=0.1),
        Grayscale(p=0.2),
        Blur(p=blur_p, kind="pillow", sigma_px=(0.1, 2.0)),
        *more,
        IMAGENET,
    ))


dino = Recipe(name="dino", views=(
    _view("global", 224, (0.4, 1.0), 1.0),
    _view("global", 224, (0.4, 1.0), 0.1, Solarize(p=0.2, threshold=128)),
    _view("local", 96, (0.05, 0.4), 0.5, count=8),
))

PRESETS = (Preset(dino, "facebookresearch/dino @ 7c446df; arXiv 2104.14294"),)
