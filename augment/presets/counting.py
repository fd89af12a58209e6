"""Learning to Count (Noroozi, Pirsiavash, Favaro 2017, arXiv:1708.06734): what an image shows is what its four quarters show."""

from __future__ import annotations

from typing import Any

from ..ops import Crop, Downscale, Normalize, Op, Tiles
from ..recipe import Recipe, View
from .preset import Preset, bilinear_crop

_HALVED = Downscale(factor=2, filter="random-choice")


def _views(side_px: int, scale: tuple[float, float], *end: Op) -> tuple[View, View, View]:
    """A picture made small, its quarters, another picture made small."""
    def crop(**more: Any) -> Crop:
        return bilinear_crop(2 * side_px, scale, ratio=(1.0, 1.0), scope="image", **more)

    return (
        View(group="whole", size_px=side_px, ops=(crop(share="crop"), _HALVED, *end)),
        View(group="tile", count=4, size_px=side_px, ops=(
            crop(share="crop"), Tiles(layout="quadrants", tile_px=side_px, scope="image"), *end,
        )),
        View(group="whole", image="partner", size_px=side_px, ops=(crop(), _HALVED, *end)),
    )


counting = Recipe(name="counting", views=_views(114, (0.5, 0.8)))
_WHOLE, _TILES, _OTHER = _views(16, (0.5, 1.0), Normalize(kind="tile-mean-std", gain=1.0, channels="separate"))
counting_cifar = Recipe(name="counting_cifar", views=(_TILES, _WHOLE, _OTHER))
"""Tiles first: as whole pictures at their scale, of 32 px, the network is judged."""

_PAPER = "no official code found; arXiv 1708.06734"

PRESETS = (
    Preset(counting, _PAPER,
           "as reported, unverified: 114 px of 228; square windows of 0.5 to 0.8 of the area, values in [0, 1] are ours"),
    Preset(counting_cifar, _PAPER,
           "our 32 px form: windows of at least half the picture at 32 px, quarters of 16 px, each view normalized by itself"),
)
