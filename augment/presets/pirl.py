"""PIRL (Misra, van der Maaten 2019, arXiv:1912.01991) as VISSL runs it: the image, and nine tiles of another crop of it."""

from __future__ import annotations

from ..ops import Flip, Jitter, Op, Permute, Photometric, Tiles
from ..recipe import Recipe, View
from .preset import GRAY, IMAGENET, STRONG_JITTER, Preset, bilinear_crop, pillow_blur


def _recipe(name: str, *look: Op, size_px: int = 224, scale: tuple[float, float] = (0.08, 1.0), cell_px: int = 85,
            tile_px: int = 64) -> Recipe:
    """look: how the image, and then each tile by itself, is changed. cell_px: a third of the crop's side."""
    return Recipe(name=name, views=(
        View(group="global", size_px=size_px, ops=(bilinear_crop(size_px, scale), *look, IMAGENET)),
        View(group="patch", count=9, size_px=tile_px, ops=(
            bilinear_crop(3 * cell_px, (0.6, 1.0), scope="image"),
            Tiles(layout="cells", tile_px=tile_px, grid=(3, 3), cell_px=cell_px, offset_px=(0, cell_px - tile_px)),
            Permute(slots=9, free=True, scope="image"),
            *look,
            IMAGENET,
        )),
    ))


PUBLISHED: tuple[Op, ...] = (
    Jitter(p=1.0, brightness=0.4, contrast=0.4, saturation=0.4, hue_turns=0.2),
    Photometric(p=0.66, choices=("posterize", "sharpness", "solarize", "autocontrast"), pick=1, strength=1.0),
    GRAY,
    Flip(p=0.5),
)

pirl = _recipe("pirl", *PUBLISHED)
pirl_cifar = _recipe("pirl_cifar", *PUBLISHED, size_px=32, scale=(0.2, 1.0), cell_px=11, tile_px=8)
pirl_gblur = _recipe("pirl_gblur", Flip(p=0.5), STRONG_JITTER, GRAY, pillow_blur(0.5))

_CODE = "facebookresearch/vissl @ 09270ed2; arXiv 1912.01991"

PRESETS = (
    Preset(pirl, _CODE, "one photometric op at full strength, any of the 9! orders, gray drawn for each tile"),
    Preset(pirl_cifar, _CODE, "our 32 px form: a crop of 33 px in nine cells of 11 px, tiles of 8 px"),
    Preset(pirl_gblur, _CODE, "any of the 9! orders, every op drawn for each tile"),
)
