"""Split-Brain Autoencoders (Zhang, Isola, Efros 2017, arXiv:1611.09842): lightness and colour, each predicted from the other."""

from __future__ import annotations

from ..ops import LabSplit, Normalize, Op
from ..recipe import Recipe, View
from .colorization import CENTRED_L, FLIP, window
from .preset import Preset, bilinear_crop

AB = Normalize(kind="mean-std", mean=(0.0, 0.0), std=(1.0, 1.0), space="lab")


def _recipe(name: str, size_px: int, *shared: Op) -> Recipe:
    return Recipe(name=name, views=(
        View(group="luma", size_px=size_px, ops=(*shared, LabSplit(keep=("L",)), CENTRED_L)),
        View(group="chroma", size_px=size_px, ops=(*shared, LabSplit(keep=("a", "b")), AB)),
    ))


splitbrain = _recipe("splitbrain", 180, window(180))
splitbrain_cifar = _recipe("splitbrain_cifar", 32, bilinear_crop(32, (0.2, 1.0), scope="image", share="crop"), FLIP)

_CODE = "richzhang/splitbrainauto @ 79c1349 (weights and deploy files only); arXiv 1611.09842"

PRESETS = (
    Preset(splitbrain, _CODE, "as reported, unverified: windows of 180 of 256 px; a and b as they are; no flip"),
    Preset(splitbrain_cifar, _CODE, "our 32 px form: CMC's crop, flip 0.5"),
)
