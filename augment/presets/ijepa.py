"""I-JEPA (Assran et al. 2023, arXiv:2301.08243): one crop, four target blocks, and a context without them. No flip."""

from __future__ import annotations

from ..masks import MultiBlock
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset, bilinear_crop


def _recipe(name: str, size_px: int, patch_px: int) -> Recipe:
    side = size_px // patch_px
    return Recipe(name=name, views=(View(group="global", size_px=size_px, ops=(
        bilinear_crop(size_px, (0.3, 1.0)),
        IMAGENET,
        MultiBlock(grid=(side, side), targets=4, target_scale=(0.15, 0.2), target_aspect=(0.75, 1.5),
                   context_scale=(0.85, 1.0), context_aspect=(1.0, 1.0)),
    )),))


ijepa = _recipe("ijepa", 224, 14)
ijepa_448 = _recipe("ijepa_448", 448, 16)

_CODE = "facebookresearch/ijepa @ 52c1ae9; arXiv 2301.08243"

PRESETS = (Preset(ijepa, _CODE), Preset(ijepa_448, _CODE))
