"""Jigsaw puzzles (Noroozi, Favaro 2016, arXiv:1603.09246): nine tiles of a picture in one of a fixed set of orders."""

from __future__ import annotations

from typing import Any

from ..ops import Flip, Grayscale, Normalize, Op, Permute, Tiles, ValueJitter
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset, bilinear_crop, center_of, center_square, short_side

SQUARE = center_of(256, 255)
"""The middle 255 px, which nine cells of 85 px fill."""


def cells(cell_px: int = 85, tile_px: int = 64) -> Tiles:
    """3 x 3 tiles, each anywhere in its cell."""
    return Tiles(layout="cells", tile_px=tile_px, grid=(3, 3), cell_px=cell_px, offset_px=(0, cell_px - tile_px))


def orders(set_size: int, **more: Any) -> Permute:
    return Permute(slots=9, set_size=set_size, **{"scope": "image", **more})


def _recipe(name: str, *ops: Op, size_px: int = 64) -> Recipe:
    return Recipe(name=name, views=(View(group="patch", count=9, size_px=size_px, ops=ops),))


_STANDARDIZED = Normalize(kind="tile-mean-std", gain=1.0, channels="separate")

jigsaw = _recipe(
    "jigsaw", *SQUARE, cells(), Normalize(kind="tile-mean", channels="separate"),
    orders(100, min_hamming=2, mean_hamming=8.08),
)
jigsaw_paper = _recipe(
    "jigsaw_paper", center_square(225, scope="image"), Grayscale(p=0.3, scope="image"), cells(75),
    ValueJitter(range=(-2, 2), value_scale=255, scope="image"), _STANDARDIZED, orders(1000, min_hamming=2, mean_hamming=8.0),
)
jigsaw_pytorch = _recipe(
    "jigsaw_pytorch", *SQUARE, Grayscale(p=0.3, scope="image"), cells(),
    ValueJitter(range=(-2, 1), value_scale=255, scope="image"), _STANDARDIZED, orders(1000, min_hamming=2, mean_hamming=8.005),
)
jigsaw_vissl = _recipe(
    "jigsaw_vissl", short_side(256), Flip(p=0.5, scope="image"), center_square(255, scope="image"),
    Grayscale(p=0.66, scope="image"), IMAGENET, cells(), orders(2000, min_hamming=2),
)
jigsaw_revisiting = _recipe("jigsaw_revisiting", *SQUARE, cells(), _STANDARDIZED, orders(100, min_hamming=2, scope="batch"))
jigsaw_cifar = _recipe(
    "jigsaw_cifar", bilinear_crop(66, (0.6, 1.0), scope="image"), Flip(p=0.5, scope="image"), Grayscale(p=0.3, scope="image"),
    cells(22, 16), _STANDARDIZED, orders(100, min_hamming=2, mean_hamming=8.08), size_px=16,
)

_OPEN = "the sources leave these open"

PRESETS = (
    Preset(jigsaw, "MehdiNoroozi/JigsawPuzzleSolver @ 8c7ec09 (v1 files at 2fba1c6); arXiv 1603.09246",
           "bilinear, antialiased, where the source is silent"),
    Preset(jigsaw_paper, "arXiv 1603.09246",
           "as reported, unverified: central 225 px, cells of 75 px, tiles of 64 px; values shifted once an image"),
    Preset(jigsaw_pytorch, "PyTorch port of arXiv 1603.09246", f"the geometry of v1, gray and shift once an image: {_OPEN}"),
    Preset(jigsaw_vissl, "vissl @ 09270ed", f"flip 0.5, the central 255 px, gray once an image, the cells of v1: {_OPEN}"),
    Preset(jigsaw_revisiting, "revisiting-self-supervised @ b530e3b", f"the geometry of v1: {_OPEN}"),
    Preset(jigsaw_cifar, "arXiv 1603.09246", "our 32 px form: a crop enlarged to 66 px in nine cells of 22 px, tiles of 16 px"),
)
