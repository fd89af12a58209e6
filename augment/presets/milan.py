"""MILAN (Hou et al. 2022, arXiv:2208.06049): MAE's view; CLIP's attention, which the method supplies, says what stays."""

from __future__ import annotations

from ..masks import Attention
from ..ops import Flip
from ..recipe import Recipe, View
from .preset import BICUBIC_FLIP, IMAGENET, Preset, bicubic_crop


def _recipe(name: str, size_px: int, side: int) -> Recipe:
    return Recipe(name=name, views=(View(group="global", size_px=size_px, ops=(
        bicubic_crop(size_px, (0.2, 1.0)),
        Flip(p=0.5),
        IMAGENET,
        Attention(grid=(side, side), visible=side * side // 4, ratio=0.75),
    )),))


milan = _recipe("milan", 224, 14)
milan_cifar = _recipe("milan_cifar", 32, 8)

_CODE = "zejiangh/MILAN; arXiv 2208.06049"

PRESETS = (
    Preset(milan, _CODE, BICUBIC_FLIP),
    Preset(milan_cifar, _CODE, "our 32 px form, patches of 4 px; " + BICUBIC_FLIP),
)
