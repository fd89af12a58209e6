"""Completing Damaged Jigsaw Puzzles (Kim et al. 2018, arXiv:1802.01880): gray tiles out of order, one missing."""

from __future__ import annotations

from ..masks import MissingTile
from ..ops import LabSplit, Op, Permute, Tiles
from ..ops.lab_split import CHANNELS
from ..recipe import Recipe, View
from .colorization import CENTRED_L
from .jigsaw import SQUARE, cells, orders
from .preset import Preset, center_of


def _puzzle(size_px: int, square: tuple[Op, ...], tiles: Tiles, order: Permute, *after: Op) -> View:
    return View(group="patch", count=9, size_px=size_px, ops=(
        *square,
        tiles,
        LabSplit(keep=("L",)),
        order,
        MissingTile(missing=1, fill=(0.5,), fill_scale="unit", scope="image"),
        *after,
    ))


def _lab(name: str, side_px: int, size_px: int, square: tuple[Op, ...], tiles: Tiles, order: Permute) -> Recipe:
    """With the picture that tiles are cut from, which has what is to be completed."""
    return Recipe(name=name, views=(
        _puzzle(size_px, square, tiles, order, CENTRED_L),
        View(group="whole", size_px=side_px, ops=(*square, LabSplit(keep=CHANNELS))),
    ))


damaged_jigsaw = Recipe(name="damaged_jigsaw", views=(_puzzle(64, SQUARE, cells(), orders(1000, min_hamming=3)),))
damaged_jigsaw_lab = _lab("damaged_jigsaw_lab", 255, 64, SQUARE, cells(), orders(1000, min_hamming=3))
damaged_jigsaw_cifar = _lab("damaged_jigsaw_cifar", 63, 16, center_of(63, 63),
                            Tiles(layout="cells", tile_px=16, grid=(3, 3), cell_px=21, offset_px=(0, 5)),
                            orders(100, min_hamming=3))

_SOURCE = "no official code found; arXiv 1802.01880"
_DECIDED = ("only shuffled tiles without colour, one missing, is stated: the geometry of Jigsaw v1, 1000 orders that "
            "differ in three slots (one gap hides none), L = 50 in the gap are ours")

PRESETS = (
    Preset(damaged_jigsaw, _SOURCE, _DECIDED),
    Preset(damaged_jigsaw_lab, _SOURCE, f"{_DECIDED}; beside it the picture in Lab, which has what is to be completed"),
    Preset(damaged_jigsaw_cifar, _SOURCE, "our 32 px form: a picture enlarged to 63 px, a quarter of the geometry of Jigsaw v1, "
                                          "100 orders that differ in three slots"),
)
