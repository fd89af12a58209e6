"""CAE (Chen et al. 2022, arXiv:2202.03026): BEiT's two pictures without jitter, exactly half of the patches masked."""

from __future__ import annotations

from ..masks import Block
from ..ops import Flip
from ..recipe import Recipe, View
from .beit import DALLE
from .preset import BICUBIC_FLIP, IMAGENET, Preset, bicubic_crop, lanczos_crop

_FLIP = Flip(p=0.5, scope="image", share="flip")


def _recipe(name: str, size_px: int, target_px: int, block: Block) -> Recipe:
    return Recipe(name=name, views=(
        View(group="global", size_px=size_px, ops=(
            _FLIP, bicubic_crop(size_px, scope="image", share="crop"), IMAGENET, block,
        )),
        View(group="target", size_px=target_px, ops=(_FLIP, lanczos_crop(target_px, scope="image", share="crop"), DALLE)),
    ))


cae = _recipe("cae", 224, 112, Block(grid=(14, 14), target=98, min_area=16, max_area=98, on_fail="retry"))
cae_cifar = _recipe("cae_cifar", 32, 32, Block(grid=(8, 8), target=32, min_area=5, max_area=32, on_fail="retry"))

_CODE = "Atten4Vis/CAE; arXiv 2202.03026"

PRESETS = (
    Preset(cae, _CODE, BICUBIC_FLIP),
    Preset(cae_cifar, _CODE, "our 32 px form, patches and codes of 4 px, half of them masked; " + BICUBIC_FLIP),
)
