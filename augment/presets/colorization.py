"""Colorful Image Colorization (Zhang, Isola, Efros 2016, arXiv:1603.08511): lightness in, a coarse grid of colours out."""

from __future__ import annotations

from ..ops import Crop, Flip, LabSplit, Normalize, Op, Resize, Subsample
from ..recipe import Recipe, View
from .preset import Preset, bilinear_crop

CENTRED_L = Normalize(kind="mean-std", mean=(50.0,), std=(1.0,), space="lab")
FLIP = Flip(p=0.5, scope="image", share="flip")


def window(size_px: int, of_px: int = 256) -> Crop:
    """size_px of a picture of of_px square, anywhere: its area fraction is a binary number, so nothing is resized."""
    area = (size_px / of_px) ** 2
    return Crop(size_px=size_px, scale=(area, area), ratio=(1.0, 1.0), filter="bilinear", antialias=True, scope="image",
                share="crop")


def _recipe(name: str, size_px: int, stride: int, *shared: Op) -> Recipe:
    return Recipe(name=name, views=(
        View(group="luma", size_px=size_px, ops=(*shared, LabSplit(keep=("L",)), CENTRED_L)),
        View(group="target", size_px=-(-size_px // stride), ops=(
            *shared, LabSplit(keep=("a", "b")), Subsample(stride=stride, mode="pick"),
        )),
    ))


def _published(name: str, size_px: int, stride: int) -> Recipe:
    return _recipe(name, size_px, stride, Resize(mode="exact", side_px=256, filter="bilinear", antialias=True), window(size_px),
                   FLIP)


colorization = _published("colorization", 180, 8)
colorization_v2 = _published("colorization_v2", 176, 4)
colorization_cifar = _recipe("colorization_cifar", 32, 4, bilinear_crop(32, (0.2, 1.0), scope="image", share="crop"), FLIP)

_CODE = "richzhang/colorization (file versions 4aa459f, f8677ec, 4617507); arXiv 1603.08511"
_DECIDED = "both sides to 256 px, bilinear, antialiased, a window anywhere, flip 0.5: the sources leave these open"

PRESETS = (
    Preset(colorization, _CODE, _DECIDED),
    Preset(colorization_v2, _CODE, _DECIDED),
    Preset(colorization_cifar, _CODE, "our 32 px form: CMC's crop, colours told at 8 x 8 places"),
)
