"""MoCo v2 (Chen et al. 2020, arXiv:2003.04297). The flip comes last."""

from __future__ import annotations

from ..ops import Blur, Crop, Flip, Grayscale, Jitter
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset

moco_v2 = Recipe(name="moco_v2", views=(View(group="global", count=2, roles=("query", "key"), size_px=224, ops=(
    Crop(size_px=224, scale=(0.2, 1.0), filter="bilinear", antialias=True),
    Jitter(p=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue_turns=0.1),
    Grayscale(p=0.2),
    Blur(p=0.5, kind="pillow", sigma_px=(0.1, 2.0)),
    Flip(p=0.5),
    IMAGENET,
)),))

PRESETS = (Preset(moco_v2, "facebookresearch/moco @ 7397dfe; arXiv 2003.04297"),)
