"""MaskFeat (Wei et al. 2021, arXiv:2112.09133): a crop, a flip, and blocks of at least 15 patches."""

from __future__ import annotations

from ..masks import Block
from ..ops import Flip
from ..recipe import Recipe, View
from .preset import BICUBIC_FLIP, IMAGENET, Preset, bicubic_crop

maskfeat = Recipe(name="maskfeat", views=(View(group="global", size_px=224, ops=(
    bicubic_crop(224, (0.5, 1.0)),
    Flip(p=0.5),
    IMAGENET,
    Block(grid=(14, 14), target=78, min_area=15, max_area=78),
)),))

maskfeat_cifar = Recipe(name="maskfeat_cifar", views=(View(group="global", size_px=32, ops=(
    bicubic_crop(32, (0.5, 1.0)),
    Flip(p=0.5),
    IMAGENET,
    Block(grid=(8, 8), target=26, min_area=5, max_area=26),
)),))

_CODE = "facebookresearch/SlowFast configs/masked_ssl/in1k_*; arXiv 2112.09133"

PRESETS = (
    Preset(maskfeat, _CODE, BICUBIC_FLIP),
    Preset(maskfeat_cifar, _CODE, "our 32 px form, patches of 4 px, the same shares of them; " + BICUBIC_FLIP),
)
