"""MAE (He et al. 2021, arXiv:2111.06377): a crop, a flip, and a quarter of the patches."""

from __future__ import annotations

from ..masks import Block, GridCells, RandomExact
from ..ops import Flip, Op
from ..recipe import Recipe, View
from .preset import BICUBIC_FLIP, IMAGENET, Preset, bicubic_crop


def _recipe(name: str, size_px: int, patch_px: int, mask: Op | None = None) -> Recipe:
    side = size_px // patch_px
    return Recipe(name=name, views=(View(group="global", size_px=size_px, ops=(
        bicubic_crop(size_px, (0.2, 1.0)),
        Flip(p=0.5),
        IMAGENET,
        mask or RandomExact(grid=(side, side), ratio=0.75, visible=side * side // 4),
    )),))


mae = _recipe("mae", 224, 16)
mae_h14 = _recipe("mae_h14", 224, 14)
mae_cifar = _recipe("mae_cifar", 32, 4)

# The same share of the patches, hidden otherwise, for an ablation: by rectangles, drawn until it is met, and by cells of 2 x 2.
mae_cifar_blocks = _recipe("mae_cifar_blocks", 32, 4, Block(grid=(8, 8), target=48, min_area=5, on_fail="retry"))
mae_cifar_cells = _recipe("mae_cifar_cells", 32, 4, GridCells(grid=(8, 8), cell_px=8, cells=(4, 4), masked_cells=12, ratio=0.75))

_CODE = "facebookresearch/mae; arXiv 2111.06377"

PRESETS = (
    Preset(mae, _CODE, BICUBIC_FLIP),
    Preset(mae_h14, _CODE, BICUBIC_FLIP),
    Preset(mae_cifar, _CODE, "our 32 px form, patches of 4 px; " + BICUBIC_FLIP),
    Preset(mae_cifar_blocks, _CODE, "mae_cifar with BEiT's blocks of patches; " + BICUBIC_FLIP),
    Preset(mae_cifar_cells, _CODE, "mae_cifar with SimMIM's cells, of 2 x 2 patches; " + BICUBIC_FLIP),
)
