"""CPC v2 (Hénaff et al. 2019, arXiv:1905.09272): a grid of overlapping patches, each with one colour channel left."""

from __future__ import annotations

from ..ops import ColourDrop, Flip, Tiles
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset, center_of

cpc_v2 = Recipe(name="cpc_v2", views=(View(group="patch", count=36, size_px=80, ops=(
    *center_of(260, 260),
    Tiles(layout="lattice", tile_px=80, pitch_px=36, origin_px=(0, 0), jitter_px=(0, 0), lattices=1, scope="image"),
    Flip(p=0.5),
    ColourDrop(p=1.0, keep=1, subtract_mean=False, fill="zero", fill_range=(0.0, 0.0), value_scale=255),
    IMAGENET,
)),))

PRESETS = (Preset(
    cpc_v2, "no official code found; arXiv 1905.09272",
    "only that patches flip and lose two channels is stated: 6 x 6 patches of 80 px every 36 px of the middle 260 px are ours",
),)
