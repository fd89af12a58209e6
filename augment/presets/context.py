"""Context Prediction (Doersch, Gupta, Efros 2015, arXiv:1505.05192): which neighbour of this patch is that one? No flips."""

from __future__ import annotations

from ..ops import ColourDrop, Grayscale, Normalize, Pair, RandomCrop, Resize, Shrink, Tiles
from ..recipe import Recipe, View
from .preset import IMAGENET, Preset, bilinear_crop, short_side

NEIGHBOURS = ((-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1))
"""(dx, dy) of the second patch from the first, by label."""

_AREA_PX = (150_000, 450_000)
_LATTICES = Tiles(layout="lattice", tile_px=96, pitch_px=144, gap_px=48, origin_px=(0, 143), jitter_px=(-7, 7), lattices=4,
                  scope="image")

context = Recipe(name="context", views=(View(group="patch", count="variable", most=_LATTICES.most(_AREA_PX[1]), size_px=96, ops=(
    Resize(mode="area", area_px=_AREA_PX, filter="bilinear", antialias=True, scope="image"),
    _LATTICES,
    Shrink(p=0.33, area_px=(100, 9025), restore_px=96, filter="bilinear"),
    ColourDrop(p=1.0, keep=1, subtract_mean=True, fill="uniform-noise", fill_range=(-0.5, 0.5), value_scale=255),
    Normalize(kind="tile-rms", gain=50.0),
    Pair(rule="adjacent-both-orders", classes=8, offsets=NEIGHBOURS),
)),))

context_resnet = Recipe(name="context_resnet", views=(View(group="patch", count=9, size_px=64, ops=(
    short_side(292),
    RandomCrop(size_px=255, scope="image"),
    Grayscale(p=0.66, scope="image"),
    Tiles(layout="cells", tile_px=64, grid=(3, 3), cell_px=85, offset_px=(0, 21)),
    IMAGENET,
    # Label i is the i-th neighbour in raster order, seen from the centre, so the centre lies the other way.
    Pair(rule="surrounding-and-centre", classes=8, offsets=tuple((-dx, -dy) for dx, dy in NEIGHBOURS)),
)),))

context_cifar = Recipe(name="context_cifar", views=(View(group="patch", count=9, size_px=16, ops=(
    bilinear_crop(66, (0.6, 1.0), scope="image"),
    Grayscale(p=0.3, scope="image"),
    Tiles(layout="cells", tile_px=16, grid=(3, 3), cell_px=22, offset_px=(0, 6)),
    Normalize(kind="tile-mean-std", gain=1.0, channels="separate"),
    Pair(rule="surrounding-and-centre", classes=8, offsets=tuple((-dx, -dy) for dx, dy in NEIGHBOURS)),
)),))

PRESETS = (
    Preset(context, "cdoersch/deepcontext @ 5307282; arXiv 1505.05192",
           "bilinear, antialiased, where the source is silent; at most 96 patches, all that an image of up to 2 : 1 has"),
    Preset(context_resnet, "mmselfsup @ db861f3; revisiting-self-supervised @ b530e3b",
           "short side, bilinear, antialiased, gray once an image, tiles anywhere in their cells, ImageNet mean and std, labels "
           "in raster order: the sources leave these open"),
    Preset(context_cifar, "mmselfsup @ db861f3; arXiv 1505.05192",
           "our 32 px form: a crop enlarged to 66 px in nine cells of 22 px, tiles of 16 px, each standardized"),
)
