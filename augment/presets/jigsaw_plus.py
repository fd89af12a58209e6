"""Jigsaw++ (Noroozi et al. 2018, arXiv:1805.00385): up to two of the nine tiles come from another picture."""

from __future__ import annotations

from ..ops import ColourMode, ColourShift, Flip, Normalize, Occlude, Op, Permute, Tiles
from ..recipe import Recipe, View
from .preset import Preset, bilinear_crop, center_square


def _recipe(name: str, *ops: Op, tile_px: int, cell_px: int, offset_px: int, shift_px: int, orders: Permute) -> Recipe:
    """ops: to a square of 3 cell_px."""
    return Recipe(name=name, views=(View(group="patch", count=9, size_px=tile_px, ops=(
        *ops,
        ColourMode(gray=0.5, projection=0.25, raw=0.25, gray_weights=(1 / 3, 1 / 3, 1 / 3), scope="image"),
        # Some px more than a tile has, which the shift of the colour planes takes up.
        Tiles(layout="cells", tile_px=tile_px, grid=(3, 3), cell_px=cell_px, offset_px=(0, offset_px), margin_px=shift_px),
        ColourShift(offset_px=(0, shift_px)),
        orders,
        Occlude(count=(0, 2), source="partner", scope="image"),
        Normalize(kind="tile-mean-std", gain=50.0, channels="joint"),
    )),))


jigsaw_plus = _recipe("jigsaw++", center_square(255, scope="image"), tile_px=64, cell_px=85, offset_px=18, shift_px=2,
                      orders=Permute(slots=9, set_size=701, min_hamming=3, mean_hamming=7.999, scope="image"))
jigsaw_plus_cifar = _recipe("jigsaw_plus_cifar", bilinear_crop(66, (0.6, 1.0), scope="image"), Flip(p=0.5, scope="image"),
                            tile_px=16, cell_px=22, offset_px=5, shift_px=1,
                            orders=Permute(slots=9, set_size=100, min_hamming=3, mean_hamming=8.08, scope="image"))

PRESETS = (
    Preset(jigsaw_plus, "MehdiNoroozi/JigsawPuzzleSolver @ 8c7ec09; arXiv 1805.00385",
           "the central 255 px, bilinear, as in version 1: the source does not restate the crop"),
    Preset(jigsaw_plus_cifar, "arXiv 1805.00385",
           "our 32 px form: a crop enlarged to 66 px in nine cells of 22 px, tiles of 16 px, planes shifted by up to 1 px; 100 "
           "orders, as a small network tells none of 701 apart"),
)
