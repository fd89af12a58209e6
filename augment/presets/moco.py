"""MoCo v1 and v2 (He et al. 2019, arXiv:1911.05722; Chen et al. 2020, arXiv:2003.04297). The flip comes last, but
on CIFAR-10."""

from __future__ import annotations

from ..ops import Flip, Jitter, Op
from ..recipe import Recipe, View
from .instdisc import CIFAR, EVERY_TIME
from .preset import GRAY, IMAGENET, Preset, bilinear_crop, pillow_blur

V2_COLOUR = (Jitter(p=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue_turns=0.1), GRAY, pillow_blur(0.5))


def _recipe(name: str, *colour: Op) -> Recipe:
    return Recipe(name=name, views=(View(group="global", count=2, roles=("query", "key"), size_px=224, ops=(
        bilinear_crop(224, (0.2, 1.0)), *colour, Flip(p=0.5), IMAGENET,
    )),))


moco = _recipe("moco", GRAY, EVERY_TIME)
moco_v2 = _recipe("moco_v2", *V2_COLOUR)

moco_cifar = Recipe(name="moco_cifar", views=(View(group="global", count=2, roles=("query", "key"), size_px=32, ops=(
    bilinear_crop(32), Flip(p=0.5), V2_COLOUR[0], GRAY, CIFAR,
)),))

PRESETS = (
    Preset(moco, "facebookresearch/moco @ 7397dfe; arXiv 1911.05722"),
    Preset(moco_v2, "facebookresearch/moco @ 7397dfe; arXiv 2003.04297"),
    Preset(moco_cifar, "facebookresearch/moco @ f736491, colab/moco_cifar10_demo.ipynb"),
)
