"""iBOT (Zhou et al. 2021, arXiv:2111.07832): the views of DINO, global ones with blocks masked after a coin."""

from __future__ import annotations

from dataclasses import replace

from ..masks import BlockCoin
from ..ops import Op, Solarize
from ..recipe import Recipe, View
from .dino import local, pair, small
from .preset import Preset

_MASK = BlockCoin(grid=(14, 14), min_area=16, max_area="target", ratio_and_half_width=((0.0, 0.0), (0.3, 0.2)),
                  target_is_float=True)

ibot = Recipe(name="ibot", views=(*pair((0.25, 1.0), _MASK), local(10, (0.05, 0.25))))
ibot_2x224 = Recipe(name="ibot_2x224", views=pair((0.14, 1.0), _MASK))
ibot_vit_bl = Recipe(name="ibot_vit_bl", views=(*pair((0.32, 1.0), _MASK), local(10, (0.05, 0.32))))

# By the authors' rule for the least area: a third of the grid's side, rounded down, squared.
_SMALL_MASK = replace(_MASK, grid=(8, 8), min_area=4)


def _small(scale: tuple[float, float], *more: Op, count: int = 1) -> View:
    base = small("global", 32, scale, *more, count=count)
    return replace(base, ops=(*(base.ops or ()), _SMALL_MASK))


ibot_cifar = Recipe(name="ibot_cifar", views=(
    _small((0.25, 1.0)),
    _small((0.25, 1.0), Solarize(p=0.2, threshold=128)),
    small("local", 16, (0.05, 0.25), count=6),
))
ibot_2x32 = Recipe(name="ibot_2x32", views=(_small((0.2, 1.0), count=2),))

_CODE = "bytedance/ibot @ da316d8; arXiv 2111.07832"

PRESETS = (
    Preset(ibot, _CODE),
    Preset(ibot_2x224, _CODE),
    Preset(ibot_vit_bl, _CODE, "crop scales as third parties report the arguments of ViT-B and ViT-L"),
    Preset(ibot_cifar, _CODE, "our 32 px form, patches of 4 px: 6 local views of 16 px, no blur"),
    Preset(ibot_2x32, _CODE, "our 32 px form without local views, patches of 4 px; no blur"),
)
