"""EVA (Fang et al. 2022, arXiv:2211.07636): one box for the network and for CLIP, whose features it predicts."""

from __future__ import annotations

from ..masks import Block
from ..ops import Flip, Normalize
from ..recipe import Recipe, View
from .preset import BICUBIC_FLIP, Preset, bicubic_crop

CLIP = Normalize(kind="mean-std", mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711),
                 space="unit")

_SHARED = (Flip(p=0.5, scope="image", share="flip"), bicubic_crop(224, (0.2, 1.0), scope="image", share="crop"), CLIP)

eva = Recipe(name="eva", views=(
    View(group="global", size_px=224, ops=(*_SHARED, Block(grid=(16, 16), target=105, min_area=16, max_area=105))),
    View(group="target", size_px=224, ops=_SHARED),
))

PRESETS = (Preset(eva, "baaivision/EVA EVA-01/eva/; arXiv 2211.07636",
                  BICUBIC_FLIP),)
