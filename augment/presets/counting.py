"""Learning to Count (Noroozi, Pirsiavash, Favaro 2017, arXiv:1708.06734): what an image shows is what its four quarters show."""

from __future__ import annotations

from typing import Any

from ..ops import Crop, Downscale, Tiles
from ..recipe import Recipe, View
from .preset import Preset, bilinear_crop

_HALVED = Downscale(factor=2, filter="random-choice")


def _recipe(name: str, side_px: int, scale: tuple[float, float]) -> Recipe:
    def crop(**more: Any) -> Crop:
        return bilinear_crop(2 * side_px, scale, ratio=(1.0, 1.0), scope="image", **more)

    return Recipe(name=name, views=(
        View(group="whole", size_px=side_px, ops=(crop(share="crop"), _HALVED)),
        View(group="tile", count=4, size_px=side_px, ops=(
            crop(share="crop"), Tiles(layout="quadrants", tile_px=side_px, scope="image"),
        )),
        View(group="whole", image="partner", size_px=side_px, ops=(crop(), _HALVED)),
    ))


counting = _recipe("counting", 114, (0.5, 0.8))
counting_cifar = _recipe("counting_cifar", 32, (0.5, 1.0))

_PAPER = "no official code found; arXiv 1708.06734"

PRESETS = (
    Preset(counting, _PAPER,
           "as reported, unverified: 114 px of 228; square windows of 0.5 to 0.8 of the area, values in [0, 1] are ours"),
    Preset(counting_cifar, _PAPER, "our 32 px form: windows of at least half the picture, enlarged to 64 px"),
)
