"""PIRL (Misra, van der Maaten 2019, arXiv:1912.01991) as VISSL runs it: the image, and nine tiles of another crop of it."""

from __future__ import annotations

from ..ops import Flip, Jitter, Op, Permute, Photometric, Tiles
from ..recipe import Recipe, View
from .preset import GRAY, IMAGENET, STRONG_JITTER, Preset, bilinear_crop, pillow_blur


def _recipe(name: str, *look: Op) -> Recipe:
    """look: how the image, and then each tile by itself, is changed."""
    return Recipe(name=name, views=(
        View(group="global", size_px=224, ops=(bilinear_crop(224), *look, IMAGENET)),
        View(group="patch", count=9, size_px=64, ops=(
            bilinear_crop(255, (0.6, 1.0), scope="image"),
            Tiles(layout="cells", tile_px=64, grid=(3, 3), cell_px=85, offset_px=(0, 21)),
            Permute(slots=9, free=True, scope="image"),
            *look,
            IMAGENET,
        )),
    ))


pirl = _recipe(
    "pirl",
    Jitter(p=1.0, brightness=0.4, contrast=0.4, saturation=0.4, hue_turns=0.2),
    Photometric(p=0.66, choices=("posterize", "sharpness", "solarize", "autocontrast"), pick=1, strength=1.0),
    GRAY,
    Flip(p=0.5),
)
pirl_gblur = _recipe("pirl_gblur", Flip(p=0.5), STRONG_JITTER, GRAY, pillow_blur(0.5))

_CODE = "facebookresearch/vissl @ 09270ed2; arXiv 1912.01991"

PRESETS = (
    Preset(pirl, _CODE, "one photometric op at full strength, any of the 9! orders, gray drawn for each tile"),
    Preset(pirl_gblur, _CODE, "any of the 9! orders, every op drawn for each tile"),
)
