"""Barlow Twins (Zbontar et al. 2021, arXiv:2103.03230)."""

from __future__ import annotations

from ..ops import Flip, Solarize
from ..recipe import Recipe, View
from .preset import GRAY, IMAGENET, JITTER, Preset, bicubic_crop, pillow_blur


def _view(blur_p: float, solarize: Solarize) -> View:
    return View(group="global", size_px=224, ops=(
        bicubic_crop(224), Flip(p=0.5), JITTER, GRAY, pillow_blur(blur_p), solarize, IMAGENET,
    ))


barlow = Recipe(name="barlow", views=(
    _view(1.0, Solarize(p=0.0, threshold=None)),
    _view(0.1, Solarize(p=0.2, threshold=128)),
))

PRESETS = (Preset(barlow, "facebookresearch/barlowtwins @ 8e8d284; arXiv 2103.03230"),)
