"""What keeps a puzzle from being solved by edges, levels and colours: Noroozi, Favaro 2016, section 4.2 (arXiv:1603.09246)."""

from __future__ import annotations

from . import Study

_TILES_TOUCH = ("recipe.patch.tiles.offset_px=[0,0]", "recipe.patch.tiles.cell_px=16", "recipe.patch.crop.size_px=48")
_LEVELS_STAY = ("recipe.patch.normalize.kind=mean-std", "recipe.patch.normalize.mean=[0.485,0.456,0.406]",
                "recipe.patch.normalize.std=[0.229,0.224,0.225]", "recipe.patch.normalize.space=unit",
                "recipe.patch.normalize.gain=null", "recipe.patch.normalize.channels=null")
_ALWAYS_COLOURED = ("recipe.patch.grayscale.p=0",)

STUDY = Study(
    question="What does a jigsaw puzzle teach without the gaps between tiles, without normalizing each tile, without gray?",
    runs=(("all-defences", "jigsaw", ()), ("no-gap", "jigsaw", _TILES_TOUCH), ("no-tile-norm", "jigsaw", _LEVELS_STAY),
          ("no-gray", "jigsaw", _ALWAYS_COLOURED), ("none", "jigsaw", (*_TILES_TOUCH, *_LEVELS_STAY, *_ALWAYS_COLOURED))),
)
