"""SwAV, with DeepCluster-v2 (Caron et al. 2020, arXiv:2006.09882): multi-crop, the large views first."""

from __future__ import annotations

from ..ops import Flip, Jitter, Normalize
from ..ops.normalize import IMAGENET_MEAN
from ..recipe import Recipe, View
from .preset import GRAY, IMAGENET, STRONG_JITTER, Preset, bilinear_crop, pillow_blur

SWAV_NORMALIZE = Normalize(kind="mean-std", mean=IMAGENET_MEAN, std=(0.228, 0.224, 0.225), space="unit")
"""ImageNet's, but for red's 0.228, which the released weights were trained with."""


SMALL_JITTER = Jitter(p=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue_turns=0.1)
"""Half of STRONG_JITTER."""


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

swav_cifar = Recipe(name="swav_cifar", views=(View(group="global", count=2, size_px=32, ops=(
    bilinear_crop(32, (0.2, 1.0)), Flip(p=0.5), SMALL_JITTER, GRAY, IMAGENET,
)),))

_SWAV = "facebookresearch/swav @ 06b1b7c; arXiv 2006.09882"
_CLUSTERS = "facebookresearch/swav @ 06b1b7c, main_deepclusterv2.py"

PRESETS = (
    Preset(swav, _SWAV),
    Preset(swav_2x224, _SWAV),
    Preset(swav_cifar, _SWAV, "our 32 px form: half the jitter, as SimCLR's on CIFAR-10, no blur, no local views"),
    Preset(deepcluster_v2, _CLUSTERS),
    Preset(deepcluster_v2_400ep, _CLUSTERS),
)
