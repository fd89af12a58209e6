"""SimSiam (Chen, He 2020, arXiv:2011.10566): the views of MoCo v2."""

from __future__ import annotations

from ..ops import Flip
from ..recipe import Recipe, View
from .moco import V2_COLOUR
from .preset import IMAGENET, Preset, bilinear_crop

simsiam = Recipe(name="simsiam", views=(View(group="global", count=2, size_px=224, ops=(
    bilinear_crop(224, (0.2, 1.0)), *V2_COLOUR, Flip(p=0.5), IMAGENET,
)),))

PRESETS = (Preset(simsiam, "facebookresearch/simsiam @ a7bc177; arXiv 2011.10566"),)
