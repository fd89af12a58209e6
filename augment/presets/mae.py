"""MAE (He et al. 2021, arXiv:2111.06377): a crop, a flip, and a quarter of the patches."""

from __future__ import annotations

from ..masks import RandomExact
from ..ops import Crop, Flip
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset

_DECIDED = "flip 0.5, antialiased, cubic_a -0.5: torchvision on Pillow, where the sources are silent"


def _recipe(name: str, size_px: int, patch_px: int) -> Recipe:
    side = size_px // patch_px
    return Recipe(name=name, views=(View(group="global", size_px=size_px, ops=(
        Crop(size_px=size_px, scale=(0.2, 1.0), filter="bicubic", antialias=True, cubic_a=-0.5),
        Flip(p=0.5),
        IMAGENET,
        RandomExact(grid=(side, side), ratio=0.75, visible=side * side // 4),
    )),))


mae = _recipe("mae", 224, 16)
mae_cifar = _recipe("mae_cifar", 32, 4)

_CODE = "facebookresearch/mae; arXiv 2111.06377"

PRESETS = (
    Preset(mae, _CODE, _DECIDED),
    Preset(mae_cifar, _CODE, "our 32 px form, patches of 4 px; " + _DECIDED),
)
