"""Learning to Count (Noroozi, Pirsiavash, Favaro 2017, arXiv:1708.06734): what an image shows is what its four quarters show."""

from __future__ import annotations

from typing import Any

from ..ops import Crop, Downscale, Tiles
from ..recipe import Recipe, View
from .preset import Preset, bilinear_crop


def _crop(**more: Any) -> Crop:
    return bilinear_crop(228, (0.5, 0.8), ratio=(1.0, 1.0), scope="image", **more)


_HALVED = Downscale(factor=2, filter="random-choice")

counting = Recipe(name="counting", views=(
    View(group="whole", size_px=114, ops=(_crop(share="crop"), _HALVED)),
    View(group="tile", count=4, size_px=114, ops=(
        _crop(share="crop"), Tiles(layout="quadrants", tile_px=114, scope="image"),
    )),
    View(group="whole", image="partner", size_px=114, ops=(_crop(), _HALVED)),
))

PRESETS = (Preset(counting, "no official code found; arXiv 1708.06734",
                  "as reported, unverified: 114 px of 228; square windows of 0.5 to 0.8 of the area, values in [0, 1] are ours"),)
