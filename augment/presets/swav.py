"""SwAV, with DeepCluster-v2 (Caron et al. 2020, arXiv:2006.09882): multi-crop, the large views first."""

from __future__ import annotations

from ..ops import Flip, Normalize
from ..ops.normalize import IMAGENET_MEAN
from ..recipe import Recipe, View
from .preset import GRAY, STRONG_JITTER, Preset, bilinear_crop, pillow_blur

SWAV_NORMALIZE = Normalize(kind="mean-std", mean=IMAGENET_MEAN, std=(0.228, 0.224, 0.225), space="unit")
"""ImageNet's, but for red's 0.228, which the released weights were trained with."""


def _views(group: str, count: int, size_px: int, scale: tuple[float, float]) -> View:
    return View(group=group, count=count, size_px=size_px, ops=(
        bilinear_crop(size_px, scale), Flip(p=0.5), STRONG_JITTER, GRAY, pillow_blur(0.5), SWAV_NORMALIZE,
    ))


swav = Recipe(name="swav", views=(_views("global", 2, 224, (0.14, 1.0)), _views("local", 6, 96, (0.05, 0.14))))
swav_2x224 = Recipe(name="swav_2x224", views=(_views("global", 2, 224, (0.08, 1.0)),))
deepcluster_v2 = Recipe(name="deepcluster_v2", views=swav.views)
deepcluster_v2_400ep = Recipe(name="deepcluster_v2_400ep", views=(
    _views("global", 2, 160, (0.08, 1.0)),
    _views("local", 4, 96, (0.05, 0.14)),
))

_SWAV = "facebookresearch/swav @ 06b1b7c; arXiv 2006.09882"
_CLUSTERS = "facebookresearch/swav @ 06b1b7c, main_deepclusterv2.py"

PRESETS = (
    Preset(swav, _SWAV),
    Preset(swav_2x224, _SWAV),
    Preset(deepcluster_v2, _CLUSTERS),
    Preset(deepcluster_v2_400ep, _CLUSTERS),
)
