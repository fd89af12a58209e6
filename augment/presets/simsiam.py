"""SimSiam (Chen, He 2020, arXiv:2011.10566): the views of MoCo v2."""

from __future__ import annotations

from ..ops import Flip
from ..recipe import Recipe, View
from .moco import V2_COLOUR
from .preset import IMAGENET, Preset, bilinear_crop

simsiam = Recipe(name="simsiam", views=(View(group="global", count=2, size_px=224, ops=(
    bilinear_crop(224, (0.2, 1.0)), *V2_COLOUR, Flip(p=0.5), IMAGENET,
)),))

# Without blur: 32 px images have little to lose.
simsiam_cifar = Recipe(name="simsiam_cifar", views=(View(group="global", count=2, size_px=32, ops=(
    bilinear_crop(32, (0.2, 1.0)), *V2_COLOUR[:2], Flip(p=0.5), IMAGENET,
)),))

_CODE = "facebookresearch/simsiam @ a7bc177; arXiv 2011.10566"

PRESETS = (
    Preset(simsiam, _CODE),
    Preset(simsiam_cifar, _CODE, "our 32 px form, no blur"),
)
