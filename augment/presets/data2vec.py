"""data2vec for vision (Baevski et al. 2022, arXiv:2202.03555): BEiT's jitter and blocks, up to 120 patches of them."""

from __future__ import annotations

from ..masks import Block
from ..ops import Flip
from ..recipe import Recipe, View
from .beit import BEIT_JITTER
from .preset import IMAGENET, Preset, bicubic_crop

data2vec = Recipe(name="data2vec", views=(View(group="global", size_px=224, ops=(
    BEIT_JITTER,
    Flip(p=0.5),
    bicubic_crop(224),
    IMAGENET,
    Block(grid=(14, 14), target=120, min_area=16, max_area=196),
)),))

PRESETS = (Preset(data2vec, "facebookresearch/data2vec_vision beit/; arXiv 2202.03555",
                  "flip 0.5, torchvision's jitter, antialiased, cubic_a -0.5: the sources leave these open"),)
