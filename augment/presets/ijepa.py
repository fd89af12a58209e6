"""I-JEPA (Assran et al. 2023, arXiv:2301.08243): one crop, four target blocks, and a context without them. No flip."""

from __future__ import annotations

from typing import Any

from ..masks import MultiBlock
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset, bilinear_crop


def _recipe(name: str, size_px: int, patch_px: int, **more: Any) -> Recipe:
    side = size_px // patch_px
    return Recipe(name=name, views=(View(group="global", size_px=size_px, ops=(
        bilinear_crop(size_px, (0.3, 1.0)),
        IMAGENET,
        MultiBlock(grid=(side, side), targets=4, target_scale=(0.15, 0.2), target_aspect=(0.75, 1.5),
                   context_scale=(0.85, 1.0), context_aspect=(1.0, 1.0), **more),
    )),))


ijepa = _recipe("ijepa", 224, 14)
ijepa_p16 = _recipe("ijepa_p16", 224, 16)
ijepa_448 = _recipe("ijepa_448", 448, 16)

# Of 8 x 8 patches the last row and column are nearly a quarter, which would never be in any block; and the published 11 of 256
# patches that a context keeps at least are 3 of 64.
ijepa_cifar = _recipe("ijepa_cifar", 32, 4, last_row_and_column=True, min_context=3)

_CODE = "facebookresearch/ijepa @ 52c1ae9; arXiv 2301.08243"

PRESETS = (
    Preset(ijepa, _CODE),
    Preset(ijepa_p16, _CODE, "patches of 16 px, for ViT-B/16 and L/16"),
    Preset(ijepa_448, _CODE),
    Preset(ijepa_cifar, _CODE, "our 32 px form, patches of 4 px; blocks reach the last row and column, and a context keeps 3 "
                               "patches at least"),
)
