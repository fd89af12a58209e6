"""Jigsaw++ (Noroozi et al. 2018, arXiv:1805.00385): up to two of the nine tiles come from another picture."""

from __future__ import annotations

from ..ops import ColourMode, ColourShift, Normalize, Occlude, Permute, Tiles
from ..recipe import Recipe, View
from .preset import Preset, center_square

jigsaw_plus = Recipe(name="jigsaw++", views=(View(group="patch", count=9, size_px=64, ops=(
    center_square(255, scope="image"),
    ColourMode(gray=0.5, projection=0.25, raw=0.25, gray_weights=(1 / 3, 1 / 3, 1 / 3), scope="image"),
    # 2 px more than a tile has, which the shift of the colour planes takes up.
    Tiles(layout="cells", tile_px=64, grid=(3, 3), cell_px=85, offset_px=(0, 18), margin_px=2),
    ColourShift(offset_px=(0, 2)),
    Permute(slots=9, set_size=701, min_hamming=3, mean_hamming=7.999, scope="image"),
    Occlude(count=(0, 2), source="partner", scope="image"),
    Normalize(kind="tile-mean-std", gain=50.0, channels="joint"),
)),))

PRESETS = (Preset(jigsaw_plus, "MehdiNoroozi/JigsawPuzzleSolver @ 8c7ec09; arXiv 1805.00385",
                  "the central 255 px, bilinear, as in version 1: the source does not restate the crop"),)
