"""MAE (He et al. 2021, arXiv:2111.06377): a crop, a flip, and a quarter of the patches."""

from __future__ import annotations

from ..masks import RandomExact
from ..ops import Flip
from ..recipe import Recipe, View
from .preset import BICUBIC_FLIP, IMAGENET, Preset, bicubic_crop


def _recipe(name: str, size_px: int, patch_px: int) -> Recipe:
    side = size_px // patch_px
    return Recipe(name=name, views=(View(group="global", size_px=size_px, ops=(
        bicubic_crop(size_px, (0.2, 1.0)),
        Flip(p=0.5),
        IMAGENET,
        RandomExact(grid=(side, side), ratio=0.75, visible=side * side // 4),
    )),))


mae = _recipe("mae", 224, 16)
mae_h14 = _recipe("mae_h14", 224, 14)
mae_cifar = _recipe("mae_cifar", 32, 4)

_CODE = "facebookresearch/mae; arXiv 2111.06377"

PRESETS = (
    Preset(mae, _CODE, BICUBIC_FLIP),
    Preset(mae_h14, _CODE, BICUBIC_FLIP),
    Preset(mae_cifar, _CODE, "our 32 px form, patches of 4 px; " + BICUBIC_FLIP),
)
