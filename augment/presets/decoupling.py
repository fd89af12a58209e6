"""Rotation feature decoupling (Feng, Xu, Tao, CVPR 2019): one crop and one flip, normalized, and all four turns of it."""

from __future__ import annotations

from ..ops import Flip
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset, bilinear_crop
from .rotnet import TURNS

decoupling = Recipe(name="decoupling", views=(View(group="global", count=4, labels=(0, 1, 2, 3), size_px=224, ops=(
    bilinear_crop(224, scope="image"), Flip(p=0.5, scope="image"), IMAGENET, TURNS,
)),))

PRESETS = (Preset(decoupling, "philiptheother/FeatureDecoupling @ 8722d7a; CVPR 2019, pp. 10364-10374",
                  "torchvision's crop, flip 0.5, counter-clockwise, ImageNet mean and std, where the source is silent"),)
