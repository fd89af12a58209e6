"""data2vec for vision (Baevski et al. 2022, arXiv:2202.03555): BEiT's jitter and blocks, up to 120 patches of them."""

from __future__ import annotations

from ..masks import Block
from ..ops import Flip
from ..recipe import Recipe, View
from .beit import BEIT_JITTER
from .preset import IMAGENET, Preset, bicubic_crop


def _recipe(name: str, size_px: int, patch_px: int, target: int, min_area: int) -> Recipe:
    side = size_px // patch_px
    return Recipe(name=name, views=(View(group="global", size_px=size_px, ops=(
        BEIT_JITTER,
        Flip(p=0.5),
        bicubic_crop(size_px),
        IMAGENET,
        Block(grid=(side, side), target=target, min_area=min_area, max_area=side * side),
    )),))


data2vec = _recipe("data2vec", 224, 16, 120, 16)
data2vec_cifar = _recipe("data2vec_cifar", 32, 4, 39, 5)

_CODE = "facebookresearch/data2vec_vision beit/; arXiv 2202.03555"
_DECIDED = "flip 0.5, torchvision's jitter, antialiased, cubic_a -0.5: the sources leave these open"

PRESETS = (
    Preset(data2vec, _CODE, _DECIDED),
    Preset(data2vec_cifar, _CODE, "our 32 px form, patches of 4 px, the same shares of them; " + _DECIDED),
)
