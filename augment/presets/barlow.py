"""Barlow Twins (Zbontar et al. 2021, arXiv:2103.03230)."""

from __future__ import annotations

from ..ops import Blur, Crop, Flip, Grayscale, Jitter, Solarize
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset


def _view(blur_p: float, solarize: Solarize) -> View:
    return View(group="global", size_px=224, ops=(
        Crop(size_px=224, scale=(0.08, 1.0), filter="bicubic", antialias=True, cubic_a=-0.5),
        Flip(p=0.5),
        Jitter(p=0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue_turns=0.1),
        Grayscale(p=0.2),
        Blur(p=blur_p, kind="pillow", sigma_px=(0.1, 2.0)),
        solarize,
        IMAGENET,
    ))


barlow = Recipe(name="barlow", views=(
    _view(1.0, Solarize(p=0.0, threshold=None)),
    _view(0.1, Solarize(p=0.2, threshold=128)),
))

PRESETS = (Preset(barlow, "facebookresearch/barlowtwins @ 8e8d284; arXiv 2103.03230"),)
