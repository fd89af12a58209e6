"""CAE (Chen et al. 2022, arXiv:2202.03026): BEiT's two pictures without jitter, exactly half of the patches masked."""

from __future__ import annotations

from ..masks import Block
from ..ops import Flip
from ..recipe import Recipe, View
from .beit import DALLE
from .preset import BICUBIC_FLIP, IMAGENET, Preset, bicubic_crop, lanczos_crop

_FLIP = Flip(p=0.5, scope="image", share="flip")

cae = Recipe(name="cae", views=(
    View(group="global", size_px=224, ops=(
        _FLIP, bicubic_crop(224, scope="image", share="crop"), IMAGENET,
        Block(grid=(14, 14), target=98, min_area=16, max_area=98, on_fail="retry"),
    )),
    View(group="target", size_px=112, ops=(_FLIP, lanczos_crop(112, scope="image", share="crop"), DALLE)),
))

PRESETS = (Preset(cae, "Atten4Vis/CAE; arXiv 2202.03026", BICUBIC_FLIP),)
