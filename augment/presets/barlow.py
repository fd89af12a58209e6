"""Barlow Twins (Zbontar et al. 2021, arXiv:2103.03230)."""

from __future__ import annotations

from ..ops import Flip, Op, Solarize
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


def _small(*after_gray: Op) -> View:
    """Without blur: 32 px images have little to lose."""
    return View(group="global", size_px=32, ops=(bicubic_crop(32), Flip(p=0.5), JITTER, GRAY, *after_gray, IMAGENET))


barlow_cifar = Recipe(name="barlow_cifar", views=(_small(), _small(Solarize(p=0.2, threshold=128))))

_CODE = "facebookresearch/barlowtwins @ 8e8d284; arXiv 2103.03230"

PRESETS = (Preset(barlow, _CODE), Preset(barlow_cifar, _CODE, "our 32 px form, no blur"))
