"""BYOL (Grill et al. 2020, arXiv:2006.07733)."""

from __future__ import annotations

from ..ops import Blur, Clip, Crop, Flip, Grayscale, Jitter, Op, Solarize
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset


def _view(*after_gray: Op, size_px: int = 224) -> View:
    return View(group="global", size_px=size_px, ops=(
        Crop(size_px=size_px, scale=(0.08, 1.0), law="clamp", attempts=1, fallback="none",
             filter="bicubic", antialias=False, cubic_a=-0.5),
        Flip(p=0.5),
        Jitter(p=0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue_turns=0.1, brightness_law="additive",
               contrast_pivot="channel-mean", saturation_law="hsv-scale"),
        Grayscale(p=0.2, weights=(0.2989, 0.587, 0.114)),
        *after_gray,
        Clip(lo=0.0, hi=1.0),
        IMAGENET,
    ))


def _blur(p: float) -> Blur:
    return Blur(p=p, kind="gaussian", taps=23, sigma_px=(0.1, 2.0), border="zero")


_SOLARIZE = Solarize(p=0.2, threshold=0.5, scale="unit")

byol = Recipe(name="byol", views=(
    _view(_blur(1.0), Solarize(p=0.0, threshold=None, scale="unit")),
    _view(_blur(0.1), _SOLARIZE),
))

# Without blur: 32 px images have little to lose.
byol_cifar = Recipe(name="byol_cifar", views=(_view(size_px=32), _view(_SOLARIZE, size_px=32)))

_CODE = "google-deepmind/deepmind-research @ f5de0ed, byol/; arXiv 2006.07733"

PRESETS = (
    Preset(byol, _CODE),
    Preset(byol_cifar, _CODE, "our 32 px form, no blur"),
)
