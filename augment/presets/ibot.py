"""iBOT (Zhou et al. 2021, arXiv:2111.07832): the views of DINO, global ones with blocks masked after a coin."""

from __future__ import annotations

from ..masks import BlockCoin
from ..recipe import Recipe
from .dino import local, pair
from .preset import Preset

_MASK = BlockCoin(grid=(14, 14), min_area=16, max_area="target", ratio_and_half_width=((0.0, 0.0), (0.3, 0.2)),
                  target_is_float=True)

ibot = Recipe(name="ibot", views=(*pair((0.25, 1.0), _MASK), local(10, (0.05, 0.25))))
ibot_2x224 = Recipe(name="ibot_2x224", views=pair((0.14, 1.0), _MASK))
ibot_vit_bl = Recipe(name="ibot_vit_bl", views=(*pair((0.32, 1.0), _MASK), local(10, (0.05, 0.32))))

_CODE = "bytedance/ibot @ da316d8; arXiv 2111.07832"

PRESETS = (
    Preset(ibot, _CODE),
    Preset(ibot_2x224, _CODE),
    Preset(ibot_vit_bl, _CODE, "crop scales as third parties report the arguments of ViT-B and ViT-L"),
)
