"""DeepCluster (Caron et al. 2018, arXiv:1807.05520): edges instead of colours; and the view that is clustered once an epoch."""

from __future__ import annotations

from ..ops import Flip, Sobel
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset, bilinear_crop, center_of

_EDGES = Sobel(gray_weights=(1 / 3, 1 / 3, 1 / 3), channels=2)

deepcluster = Recipe(name="deepcluster", views=(
    View(group="global", size_px=224, ops=(bilinear_crop(224), Flip(p=0.5), IMAGENET, _EDGES)),
    View(group="cluster", size_px=224, ops=(*center_of(256, 224), IMAGENET, _EDGES)),
))

PRESETS = (Preset(deepcluster, "facebookresearch/deepcluster @ 2d1927e; arXiv 1807.05520",
                  "torchvision's crop, flip 0.5, ImageNet mean and std, short side 256 px for clustering: not stated"),)
