"""RotNet (Gidaris et al. 2018, arXiv:1803.07728): one crop and one flip, and all four quarter turns of it."""

from __future__ import annotations

from ..ops import Flip, Op, RandomCrop, Rotate
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset, bilinear_crop, center_of

TURNS = Rotate(kind="exact", angles_deg=(0, 90, 180, 270), pick="enumerate", direction="counter-clockwise")


def _recipe(name: str, size_px: int, crop: Op) -> Recipe:
    return Recipe(name=name, views=(View(group="global", count=4, labels=(0, 1, 2, 3), size_px=size_px, ops=(
        crop, Flip(p=0.5, scope="image"), TURNS, IMAGENET,
    )),))


rotnet = _recipe("rotnet", 224, bilinear_crop(224, scope="image"))
rotnet_cifar = _recipe("rotnet_cifar", 32, RandomCrop(size_px=32, pad_px=4, scope="image"))
rotnet_eval = Recipe(name="rotnet_eval", views=(View(group="global", size_px=224, ops=(*center_of(256, 224), IMAGENET)),))

_CODE = "gidariss/FeatureLearningRotNet @ edafaba; arXiv 1803.07728"
_DECIDED = "flip 0.5 and ImageNet mean and std, where the sources are silent"

PRESETS = (
    Preset(rotnet, _CODE, "antialiased, " + _DECIDED),
    Preset(rotnet_cifar, _CODE, _DECIDED),
    Preset(rotnet_eval, _CODE, "short side, bilinear, antialiased, ImageNet mean and std, where the sources are silent"),
)
