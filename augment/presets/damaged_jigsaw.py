"""Completing Damaged Jigsaw Puzzles (Kim et al. 2018, arXiv:1802.01880): gray tiles out of order, one missing."""

from __future__ import annotations

from ..masks import MissingTile
from ..ops import LabSplit
from ..recipe import Recipe, View
from .jigsaw import SQUARE, cells, orders
from .preset import Preset

damaged_jigsaw = Recipe(name="damaged_jigsaw", views=(View(group="patch", count=9, size_px=64, ops=(
    *SQUARE,
    cells(),
    LabSplit(keep=("L",)),
    orders(1000, min_hamming=3),
    MissingTile(missing=1, fill=(0.5,), fill_scale="unit", scope="image"),
)),))

PRESETS = (Preset(damaged_jigsaw, "no official code found; arXiv 1802.01880",
                  "only shuffled tiles without colour, one missing, is stated: the geometry of Jigsaw v1, 1000 orders that "
                  "differ in three slots (one gap hides none), L = 50 in the gap are ours"),)
