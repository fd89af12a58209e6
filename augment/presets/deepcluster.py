"""DeepCluster (Caron et al. 2018, arXiv:1807.05520): edges instead of colours; and the view that is clustered once an epoch."""

from __future__ import annotations

from ..ops import Flip, Op, Sobel
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset, bilinear_crop, center_of, center_square

_EDGES = Sobel(gray_weights=(1 / 3, 1 / 3, 1 / 3), channels=2)


def _recipe(name: str, size_px: int, crop: Op, plain: tuple[Op, ...]) -> Recipe:
    return Recipe(name=name, views=(
        View(group="global", size_px=size_px, ops=(crop, Flip(p=0.5), IMAGENET, _EDGES)),
        View(group="cluster", size_px=size_px, ops=(*plain, IMAGENET, _EDGES)),
    ))


deepcluster = _recipe("deepcluster", 224, bilinear_crop(224), center_of(256, 224))
deepcluster_cifar = _recipe("deepcluster_cifar", 32, bilinear_crop(32, (0.3, 1.0)), (center_square(32),))

_CODE = "facebookresearch/deepcluster @ 2d1927e; arXiv 1807.05520"

PRESETS = (
    Preset(deepcluster, _CODE,
           "torchvision's crop, flip 0.5, ImageNet mean and std, short side 256 px for clustering: not stated"),
    Preset(deepcluster_cifar, _CODE, "our 32 px form: crops of at least 0.3 of the picture, which is grouped as a whole"),
)
