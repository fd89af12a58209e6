"""RotNet (Gidaris et al. 2018, arXiv:1803.07728): one crop and one flip, and all four quarter turns of it."""

from __future__ import annotations

from ..ops import Flip, Op, RandomCrop, Rotate
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset, bilinear_crop, center_of


def _turns(*angles_deg: int) -> Rotate:
    return Rotate(kind="exact", angles_deg=angles_deg, pick="enumerate", direction="counter-clockwise")


TURNS = _turns(0, 90, 180, 270)


def _recipe(name: str, size_px: int, crop: Op, turns: Rotate = TURNS) -> Recipe:
    labels = tuple(int(angle) // 90 for angle in turns.angles_deg or ())
    return Recipe(name=name, views=(View(group="global", count=len(labels), labels=labels, size_px=size_px, ops=(
        crop, Flip(p=0.5, scope="image"), turns, IMAGENET,
    )),))


_PADDED = RandomCrop(size_px=32, pad_px=4, scope="image")

rotnet = _recipe("rotnet", 224, bilinear_crop(224, scope="image"))
rotnet_cifar = _recipe("rotnet_cifar", 32, _PADDED)
rotnet_0_90_cifar = _recipe("rotnet_0_90_cifar", 32, _PADDED, _turns(0, 90))
rotnet_0_180_cifar = _recipe("rotnet_0_180_cifar", 32, _PADDED, _turns(0, 180))
rotnet_90_270_cifar = _recipe("rotnet_90_270_cifar", 32, _PADDED, _turns(90, 270))
rotnet_eval = Recipe(name="rotnet_eval", views=(View(group="global", size_px=224, ops=(*center_of(256, 224), IMAGENET)),))

_CODE = "gidariss/FeatureLearningRotNet @ edafaba; arXiv 1803.07728"
_DECIDED = "flip 0.5 and ImageNet mean and std, where the sources are silent"

PRESETS = (
    Preset(rotnet, _CODE, "antialiased, " + _DECIDED),
    Preset(rotnet_cifar, _CODE, _DECIDED),
    *(Preset(few, _CODE, "two of the four turns, for an ablation; " + _DECIDED)
      for few in (rotnet_0_90_cifar, rotnet_0_180_cifar, rotnet_90_270_cifar)),
    Preset(rotnet_eval, _CODE, "short side, bilinear, antialiased, ImageNet mean and std, where the sources are silent"),
)
