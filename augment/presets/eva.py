"""EVA (Fang et al. 2022, arXiv:2211.07636): one box for the network and for CLIP, whose features it predicts."""

from __future__ import annotations

from ..masks import Block
from ..ops import Flip, Normalize
from ..recipe import Recipe, View
from .preset import BICUBIC_FLIP, IMAGENET, Preset, bicubic_crop

CLIP = Normalize(kind="mean-std", mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711),
                 space="unit")


def _recipe(name: str, size_px: int, normalize: Normalize, block: Block) -> Recipe:
    shared = (Flip(p=0.5, scope="image", share="flip"), bicubic_crop(size_px, (0.2, 1.0), scope="image", share="crop"), normalize)
    return Recipe(name=name, views=(
        View(group="global", size_px=size_px, ops=(*shared, block)),
        View(group="target", size_px=size_px, ops=shared),
    ))


eva = _recipe("eva", 224, CLIP, Block(grid=(16, 16), target=105, min_area=16, max_area=105))
eva_cifar = _recipe("eva_cifar", 32, IMAGENET, Block(grid=(8, 8), target=26, min_area=4, max_area=26))

_CODE = "baaivision/EVA EVA-01/eva/; arXiv 2211.07636"

PRESETS = (
    Preset(eva, _CODE, BICUBIC_FLIP),
    Preset(eva_cifar, _CODE, "our 32 px form, patches of 4 px, the same shares of them; normalized as our runs are, one of which "
           "teaches; " + BICUBIC_FLIP),
)
