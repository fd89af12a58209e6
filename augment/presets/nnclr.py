"""NNCLR (Dwibedi et al. 2021, arXiv:2104.14548): BYOL's pair, as a public re-implementation has it."""

from __future__ import annotations

from ..ops import Flip, Op, Solarize
from ..recipe import Recipe, View
from .barlow import barlow
from .preset import GRAY, IMAGENET, JITTER, Preset, bicubic_crop

nnclr = Recipe(name="nnclr", views=barlow.views)


def _small(*after_gray: Op) -> View:
    """Without blur: 32 px images have little to lose."""
    return View(group="global", size_px=32, ops=(bicubic_crop(32), Flip(p=0.5), JITTER, GRAY, *after_gray, IMAGENET))


nnclr_cifar = Recipe(name="nnclr_cifar", views=(_small(), _small(Solarize(p=0.2, threshold=128))))

_CODE = "no official code found; arXiv 2104.14548"

PRESETS = (
    Preset(nnclr, _CODE, "nothing is stated but two views of 224 px: the pair is BYOL's in torchvision's laws, which is that of "
           "Barlow Twins"),
    Preset(nnclr_cifar, _CODE, "our 32 px form, no blur"),
)
