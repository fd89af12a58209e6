"""MILAN (Hou et al. 2022, arXiv:2208.06049): MAE's view; CLIP's attention, which the method supplies, says what stays."""

from __future__ import annotations

from ..masks import Attention
from ..ops import Flip
from ..recipe import Recipe, View
from .preset import BICUBIC_FLIP, IMAGENET, Preset, bicubic_crop

milan = Recipe(name="milan", views=(View(group="global", size_px=224, ops=(
    bicubic_crop(224, (0.2, 1.0)),
    Flip(p=0.5),
    IMAGENET,
    Attention(grid=(14, 14), visible=49, ratio=0.75),
)),))

PRESETS = (Preset(milan, "zejiangh/MILAN; arXiv 2208.06049", BICUBIC_FLIP),)
