"""Rotation feature decoupling (Feng, Xu, Tao, CVPR 2019): one crop and one flip, normalized, and all four turns of it."""

from __future__ import annotations

from ..ops import Flip, Op, RandomCrop
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset, bilinear_crop
from .rotnet import TURNS


def _recipe(name: str, size_px: int, crop: Op) -> Recipe:
    return Recipe(name=name, views=(View(group="global", count=4, labels=(0, 1, 2, 3), size_px=size_px, ops=(
        crop, Flip(p=0.5, scope="image"), IMAGENET, TURNS,
    )),))


decoupling = _recipe("decoupling", 224, bilinear_crop(224, scope="image"))
decoupling_cifar = _recipe("decoupling_cifar", 32, RandomCrop(size_px=32, pad_px=4, scope="image"))

_CODE = "philiptheother/FeatureDecoupling @ 8722d7a; CVPR 2019, pp. 10364-10374"

PRESETS = (
    Preset(decoupling, _CODE,
           "torchvision's crop, flip 0.5, counter-clockwise, ImageNet mean and std, where the source is silent"),
    Preset(decoupling_cifar, _CODE, "our 32 px form, with the crop of RotNet's"),
)
